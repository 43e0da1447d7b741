"""`auditor watch`."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from auditor.cli import output


@click.command()
@click.argument("subject", metavar="SUBJECT")
@click.option("--baseline", type=click.Path(path_type=Path), help="FILE or CASE with a baseline.")
@click.option("--enrol", type=click.Path(path_type=Path), help="Make a baseline: FILE to write.")
@click.option("--also", multiple=True, metavar="SPEC", help="Enrol: another honest deployment.")
@click.option(
    "--candidates",
    type=int,
    default=None,
    help="Enrol: questions to choose from; by default 400 of a local model, 120 of a server.",
)
@click.option(
    "--cells",
    type=int,
    default=None,
    help="Enrol: questions to keep; by default 64 of a local model, 16 of a server alone.",
)
@click.option(
    "--draws",
    type=int,
    default=None,
    help="Enrol: answers to each question and deployment that shows no logits; by default 60 "
    "beside a local model, 200 of a server alone.",
)
@click.option(
    "--temperature",
    type=float,
    default=None,
    help="Enrol: of the answers; by default 0.01, of a server alone 0.25.",
)
@click.option("--queries", type=int, default=150, show_default=True, help="Most to ask, 1 token.")
@click.option(
    "--alpha",
    type=float,
    default=0.01,
    show_default=True,
    help="Chance of a false alarm, however long the watch goes on.",
)
@click.option("--log", type=click.Path(path_type=Path), help="FILE of answers; goes on with it.")
@click.option("--seed", type=int, default=None, help="Of the draws; by default another each time.")
@click.option("--device", default=None, help="cpu, cuda, cuda:1 or auto.")
@click.option("--dtype", default=None, help="float32, bfloat16 or float16.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def watch(subject: str, as_json: bool, **given: Any) -> int:
    """Test whether SUBJECT is still the model of a baseline, with one-token questions.

    First `--enrol FILE` with the model that is known, then `--baseline FILE` whenever. The test may
    be stopped and gone on with (`--log`) at any time. Exit codes: 0 no change seen, 3 changed.
    """
    if (given["baseline"] is None) == (given["enrol"] is None):
        raise click.UsageError("give either --enrol FILE or --baseline FILE")
    if given["enrol"] is not None:
        _refuse(_WATCHING, "--baseline")
        return _enrol(subject, given, as_json)
    _refuse(_ENROLLING, "--enrol")
    return _watch(subject, given, as_json)


_ENROLLING = ("also", "candidates", "cells", "draws", "temperature")
_WATCHING = ("queries", "alpha", "log", "dtype")


def _refuse(names: tuple[str, ...], mode: str) -> None:
    """Refuse options that were given and only mean something in the other mode."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} goes with {mode} only")


def _enrol(subject: str, given: dict[str, Any], as_json: bool) -> int:
    from auditor.canon import pretty_json
    from auditor.case import atomic_write
    from auditor.enrolment.baseline import Enrolling, enrol
    from auditor.enrolment.kept_replies import kept_replies

    target: Path = given["enrol"]
    _check_target(target)
    wanted = Enrolling(
        spec=subject,
        also=given["also"],
        candidates=given["candidates"],
        cells=given["cells"],
        draws=given["draws"],
        temperature=given["temperature"],
        seed=given["seed"] or 0,
        device=given["device"],
        target=target,
    )
    with kept_replies(target, wanted.specs) as paths:
        for path in paths:
            known = "goes on with the replies" if path.stat().st_size else "replies are kept"
            output.say(f"{known} in {path}; removed when {target} is written")
        baseline = enrol(wanted, output.progress())
        atomic_write(target, pretty_json(baseline))
    if as_json:
        output.emit_json(baseline)
        return output.DONE
    passes = sum(len(group["passes"]) for group in baseline["groups"])
    output.echo(
        f"{target}: {len(baseline['cells'])} questions at temperature {baseline['temperature']}, "
        f"{passes} deployments in {len(baseline['groups'])} groups"
    )
    for warning in baseline.get("warnings", ()):
        output.echo(f"warning: {warning}")
    _show_power(baseline["power"])
    output.echo(f"next: auditor watch SUBJECT --baseline {target}")
    return output.DONE


def _check_target(target: Path) -> None:
    """Refuse a place that cannot be written, before anything is asked."""
    import os

    from auditor.errors import InputError

    if target.exists():
        raise InputError(f"{target} exists", hint="give another --enrol; nothing is replaced")
    folder = next(place for place in target.absolute().parents if place.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(
            f"{target} cannot be written: {folder} is no folder that may be written to",
            hint="give another --enrol",
        )


def _show_power(rows: list[dict[str, Any]]) -> None:
    from auditor.enrolment.baseline import LOG10_ALARM, QUERIES

    output.echo(f"forecast for a new watch of {QUERIES} questions at {10**-LOG10_ALARM:.2g}:")
    for row in rows:
        after = "" if row["queries"] is None else f", after {row['queries']} queries (median)"
        output.echo(f"  {row['change']}: seen in {row['share']:.0%} of watches{after}")


def _watch(subject: str, given: dict[str, Any], as_json: bool) -> int:
    import math

    from auditor.errors import InputError
    from auditor.models import open_model
    from auditor.watch_baseline import read_baseline
    from auditor.watching import Watching, watch

    if not 0.0 < given["alpha"] < 1.0:
        raise InputError(f"an alpha of {given['alpha']}", hint="between 0 and 1")
    baseline = read_baseline(given["baseline"])
    wanted = Watching(
        queries=given["queries"],
        log10_alarm=-math.log10(given["alpha"]),
        log=given["log"],
        seed=given["seed"],
    )
    model = open_model(subject, device=given["device"], dtype=given["dtype"])
    try:
        result = watch(model, baseline, wanted, output.progress())
    finally:
        model.close()
    if as_json:
        output.emit_json(result)
    else:
        _show(result)
    return output.GATE_MET if result["outcome"] == "changed" else output.DONE


def _show(result: dict[str, Any]) -> None:
    output.echo(
        f"{result['outcome']}: {result['queries']} queries, p {result['p']:.2g} (alarm at "
        f"{10 ** -result['log10_alarm']:.2g}; valid whenever it is stopped)"
    )
    _show_server(result)
    if result["outcome"] == "changed":
        _show_moved(max(result["cells"], key=lambda cell: float(cell["log10_wealth"])))
    else:
        _show_power(result["forecast"]["changes"])


def _show_server(result: dict[str, Any]) -> None:
    if result["withheld"]:
        output.echo(
            f"{result['withheld']} more replies were filtered or refused: they are no answers and "
            "count for nothing"
        )
    served = result["served"]
    for name in served["models"]:
        if name != served["asked"]:
            output.echo(
                f"the server calls the model that answered {name!r}, asked was "
                f"{served['asked']!r}; the test goes by the answers alone"
            )


def _show_moved(cell: dict[str, Any]) -> None:
    for answer, count, ceiling in zip(
        cell["answers"], cell["given"], cell["ceilings"], strict=True
    ):
        name = "any other" if answer is None else repr(answer)
        share = count / max(1, sum(cell["given"]))
        output.echo(f"  {cell['probe']}: {name} {share:.0%}, at most {ceiling:.0%} expected")
