"""`auditor distill`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import output

if TYPE_CHECKING:
    from auditor.distill.recipe import Recipe


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
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="RUN",
    help="A finished run of the same recipe without the teacher (method {kind: baseline}): says "
    "which share of the teacher gap was recovered.",
)
@click.option(
    "--audit-lineage",
    is_flag=True,
    help="Then audit the student against its teacher, as `auditor lineage measure` does.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def distill(
    recipe: Path,
    out: Path | None,
    resume: bool,
    dry_run: bool,
    accept_unknown: str | None,
    baseline: Path | None,
    audit_lineage: bool,
    as_json: bool,
) -> None:
    """Train the student of RECIPE.yaml and record what went in.

    Writes student/ (transformers format), lineage.json, metrics.jsonl and report.html. A teacher
    needs a permission file. Can be killed at any moment and repeated: the weights are the same
    bit for bit on a CPU. --baseline and --audit-lineage add to a run that is finished, too.
    """
    from auditor.distill.recipe import load_recipe

    loaded = load_recipe(recipe)
    if baseline is not None:
        from auditor.distill.baseline import check_baseline

        check_baseline(loaded, baseline, accept_unknown=accept_unknown)
    if dry_run:
        from auditor.distill.run import forecast

        show(forecast(loaded, accept_unknown), as_json=as_json)
        return
    from auditor.distill.ranks import is_first_rank
    from auditor.distill.run import distill as train
    from auditor.report.distillation import write_run_report

    folder = out or Path("auditor-runs") / recipe.stem
    lineage = train(
        loaded, folder, progress=output.progress(), resume=resume, accept_unknown=accept_unknown
    )
    if not is_first_rank():
        return  # the others trained beside it
    added = _added(loaded, folder, baseline, accept_unknown, audit_lineage=audit_lineage)
    page = write_run_report(folder)
    if as_json:
        output.emit_json({"run": str(folder), "report": str(page), "lineage": lineage, **added})
        return
    show({**lineage["results"], **added}, as_json=False)
    output.echo(f"student  {folder / 'student'}\nlineage  {folder / 'lineage.json'}")
    output.echo(f"report   {page}")


def _added(
    recipe: "Recipe",
    folder: Path,
    baseline: Path | None,
    accept_unknown: str | None,
    *,
    audit_lineage: bool,
) -> dict[str, Any]:
    """Return what is asked for of a finished run, by name."""
    found: dict[str, Any] = {}
    if baseline is not None:
        from auditor.distill.baseline import compare_baseline

        compared = compare_baseline(
            recipe, folder, baseline, accept_unknown=accept_unknown, progress=output.progress()
        )
        found["baseline"] = {key: compared[key] for key in ("scores", "recovered", "better")}
    if audit_lineage:
        from auditor.measured_lineage import measure_lineage

        audited = measure_lineage(folder, progress=output.progress())
        found["measured_lineage"] = {key: audited[key] for key in ("outcome", "reason")}
    return found


def show(values: dict[str, Any], *, as_json: bool) -> None:
    """Print nested values as indented lines, or as one JSON object."""
    if as_json:
        output.emit_json(values)
        return
    for line in _lines(values, ""):
        output.echo(line)


def _lines(values: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            text = f"{value:.5g}" if isinstance(value, float) else value
            lines.append(f"{indent}{key}: {text}")
    return lines
