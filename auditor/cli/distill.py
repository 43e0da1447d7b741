"""`auditor distill`."""

from pathlib import Path
from typing import Any

import click

from auditor.cli import output


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Run folder. [default: auditor-runs/<recipe name>]",
)
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Continue the run that --out holds from its newest complete checkpoint.",
)
@click.option("--dry-run", is_flag=True, help="Check everything and forecast; train nothing.")
@click.option(
    "--accept-unknown",
    metavar="REASON",
    help="Go on although the permission's verdict is unknown; REASON goes into the ledger.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def distill(
    recipe: Path,
    out: Path | None,
    resume: bool,
    dry_run: bool,
    accept_unknown: str | None,
    as_json: bool,
) -> None:
    """Train the student of RECIPE.yaml and record what went in.

    Writes student/ (transformers format), lineage.json, metrics.jsonl and report.html. A teacher
    needs a permission file. Can be killed at any moment and repeated: the weights are the same
    bit for bit on a CPU.
    """
    from auditor.distill.recipe import load_recipe

    loaded = load_recipe(recipe)
    if dry_run:
        from auditor.distill.run import forecast

        show(forecast(loaded, accept_unknown), as_json=as_json)
        return
    from auditor.distill.run import distill as train
    from auditor.report.distillation import write_run_report

    folder = out or Path("auditor-runs") / recipe.stem
    lineage = train(
        loaded, folder, progress=output.progress(), resume=resume, accept_unknown=accept_unknown
    )
    page = write_run_report(folder)
    if as_json:
        output.emit_json({"run": str(folder), "report": str(page), "lineage": lineage})
        return
    show(lineage["results"], as_json=False)
    click.echo(f"student  {folder / 'student'}\nlineage  {folder / 'lineage.json'}")
    click.echo(f"report   {page}")


def show(values: dict[str, Any], *, as_json: bool) -> None:
    """Print nested values as indented lines, or as one JSON object."""
    if as_json:
        output.emit_json(values)
        return
    for line in _lines(values, ""):
        click.echo(line)


def _lines(values: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            text = f"{value:.5g}" if isinstance(value, float) else value
            lines.append(f"{indent}{key}: {text}")
    return lines
