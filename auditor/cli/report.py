"""`auditor report`."""

from pathlib import Path

import click

from auditor.cli import output


@click.command()
@click.argument("folder", metavar="CASE", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "json"]),
    default="html",
    show_default=True,
    help="html and md: write the files and print their paths; json: print the result.",
)
def report(folder: Path, form: str) -> None:
    """Write the report of a judged CASE again, from its files alone.

    CASE is the folder of an audit, or the output folder of a distillation (html only).
    """
    if (folder / "lineage.json").is_file():
        from auditor.report.distillation import write_run_report

        click.echo(write_run_report(folder))
        return
    _case_report(folder, form)


def _case_report(folder: Path, form: str) -> None:
    from auditor.audit import existing_case
    from auditor.case import locked
    from auditor.report.render import write_reports
    from auditor.report.result import result_json, scan_json

    case = existing_case(folder)
    if form == "json":
        suspects = [
            s["name"] for s in case.read_json("plan.json")["subjects"] if s["role"] == "suspect"
        ]
        one = len(suspects) == 1
        output.emit_json(result_json(case, suspects[0]) if one else scan_json(case))
        return
    with locked(case):
        paths = write_reports(case)
    for path in paths.values():
        click.echo(path if form == "html" else path.with_suffix(".md"))
