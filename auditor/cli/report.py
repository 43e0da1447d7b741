"""`auditor report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor import __version__
from auditor.cli import output
from auditor.errors import InputError

if TYPE_CHECKING:
    from auditor.case import Case


@click.command()
@click.argument("folder", metavar="CASE", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "json", "junit", "sarif"]),
    default="html",
    show_default=True,
    help="html and md: write the files and print their paths; json, junit, sarif: print the text.",
)
@click.option(
    "--fail-on",
    metavar="EXPR",
    help="For junit: the test of the conclusion fails where this holds, as with compare.",
)
def report(folder: Path, form: str, fail_on: str | None) -> None:
    """Write the report of a judged CASE again, from its files alone.

    CASE is the folder of an audit, or the output folder of a distillation (html only).
    """
    if fail_on and form != "junit":
        raise InputError("--fail-on goes with --format junit", hint="compare and audit take it too")
    if (folder / "lineage.json").is_file():
        from auditor.report.distillation import write_run_report

        click.echo(write_run_report(folder))
        return
    _case_report(folder, form, fail_on)


def _case_report(folder: Path, form: str, fail_on: str | None) -> None:
    from auditor.audit import existing_case, existing_draft
    from auditor.case import locked
    from auditor.report.render import write_reports

    if form in ("json", "junit", "sarif"):
        _print_results(existing_case(folder), form, fail_on)
        return
    case = existing_draft(folder)  # the report of a sealed case stands in it
    with locked(case):
        paths = write_reports(case)
    for path in paths.values():
        click.echo(path if form == "html" else path.with_suffix(".md"))


def _print_results(case: "Case", form: str, fail_on: str | None) -> None:
    """Print what machines read."""
    from auditor.report.findings import suspects
    from auditor.report.junit import junit_of
    from auditor.report.result import result_json, scan_json
    from auditor.report.sarif import sarif_of

    results = {name: result_json(case, name) for name in suspects(case)}
    if form == "json":
        one = len(results) == 1
        output.emit_json(next(iter(results.values())) if one else scan_json(case))
    elif form == "sarif":
        click.echo(sarif_of(results, __version__), nl=False)
    else:
        click.echo(junit_of(results, _gates(results, fail_on), fail_on), nl=False)


def _gates(results: dict[str, dict[str, Any]], fail_on: str | None) -> dict[str, bool | None]:
    if fail_on is None:
        return {}
    from auditor.cli.gate import parse_gate, result_values
    from auditor.measures import all_measures

    gate = parse_gate(fail_on, {measure.name for measure in all_measures()})
    return {name: gate.holds(result_values(result)) for name, result in results.items()}
