"""`auditor exercise`: blinded cases of known truth."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from auditor.cli import output

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


@click.group()
def exercise() -> None:
    """Make suspects of known truth, and score what an examiner said of them."""


@exercise.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="New folder for the examiner: suspects and exercise.json.")  # fmt: skip
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="New file with the truth; keep it from the examiner.")  # fmt: skip
@click.option("--cases", type=click.IntRange(min=1), default=12, show_default=True,
              help="Number of suspects, about 15 s each on two CPU cores.")  # fmt: skip
@click.option("--seed", type=int, help="Of truth and training. [default: drawn, kept in the key]")
@click.option("--steps", type=click.IntRange(min=1), default=420, show_default=True,
              help="Training steps; fewer make imitations that are harder to see.")  # fmt: skip
@_JSON
def new(out: Path, key: Path, cases: int, seed: int | None, steps: int, as_json: bool) -> None:
    """Train suspects that are independent, imitations or replicas of a shipped tiny model."""
    from auditor.exercise import REFERENCE, new_exercise

    made = new_exercise(out, key, cases=cases, seed=seed, progress=output.progress(), steps=steps)
    suspects = [str(path) for path in made.suspects]
    if as_json:
        output.emit_json({"exercise": str(made.folder), "key": str(key), "suspects": suspects})
        return
    output.echo(f"{len(suspects)} suspects in {made.folder}; the truth is in {key}")
    output.echo("audit them, for example by:")
    scan = f"auditor scan {REFERENCE} {made.folder}/suspects/* --control pack:zoo --json"
    output.echo(f"  {scan} > answers.json")
    output.echo(f"then: auditor exercise open {made.folder} --key {key} --answers answers.json")


@exercise.command("open")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="The key file of the exercise.")  # fmt: skip
@click.option("--answers", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="JSON: {suspect: reading}, or what `auditor scan --json` printed.")  # fmt: skip
@_JSON
def open_(folder: Path, key: Path, answers: Path, as_json: bool) -> None:
    """Open the key and count the examiner's errors, with exact 95 % limits."""
    from auditor.exercise import open_exercise

    found = open_exercise(folder, key, read_answers(answers))
    if as_json:
        output.emit_json(found)
        return
    for case in found["cases"]:
        output.echo(f"{case['suspect']}: {case['truth']}, answered {case['answer']}")
    for name in ("false_accusations", "missed_links", "mistaken_kinds", "undecided"):
        output.echo(_rate(name.replace("_", " "), found[name]))


def _rate(name: str, rate: Mapping[str, Any]) -> str:
    limits = rate["interval"]
    shown = "" if limits is None else f" (95 % limits {limits[0]:.3f} to {limits[1]:.3f})"
    return f"{name}: {rate['count']} of {rate['of']}{shown}"


def read_answers(path: Path) -> dict[str, str]:
    """Return {suspect: reading} of a mapping, or of the results of a scan.

    Raises:
        InputError: the file is neither.
    """
    from auditor.errors import InputError

    try:
        content = json.loads(path.read_bytes())
        if content.get("schema") == "auditor/scan/1":
            return {
                Path(one["suspect"]["spec"].removeprefix("local:")).name: one["conclusion"][
                    "reading"
                ]
                for one in content["results"]
            }
        answers = {str(name): str(reading) for name, reading in content.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} holds no answers: {error}",
            hint='write {"suspect-01": "no-link", ...}, or save what `auditor scan --json` prints',
        ) from error
    return answers


def _name(spec: str) -> str:
    return Path(spec.removeprefix("local:")).name
