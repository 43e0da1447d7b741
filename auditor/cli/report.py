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
@click.option(
    "--profile",
    type=click.Choice(["eu-gpai"]),
    help="Write a page for a certain reader instead, outside of the case. eu-gpai: evidence on an "
    "undeclared teacher for EU AI Act, Article 53 (html or md).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the --profile page. [default: CASE.PROFILE.html, or .md, beside the case]",
)
def report(
    folder: Path, form: str, fail_on: str | None, profile: str | None, out: Path | None
) -> None:
    """Write the report of a judged CASE again, from its files alone.

    CASE is the folder of an audit, or the output folder of a distillation (html only). With
    --profile nothing in CASE changes, so that a sealed case will do.
    """
    if profile is not None:
        _profile_page(folder, profile, form, out)
        return
    if out is not None:
        raise InputError("--out goes with --profile", hint="the report itself lies in the case")
    if fail_on and form != "junit":
        raise InputError("--fail-on goes with --format junit", hint="compare and audit take it too")
    if (folder / "lineage.json").is_file():
        from auditor.report.distillation import write_run_report

        output.echo(write_run_report(folder))
        return
    _case_report(folder, form, fail_on)


def _profile_page(folder: Path, profile: str, form: str, out: Path | None) -> None:
    from auditor.audit import existing_case
    from auditor.case import atomic_write
    from auditor.report.compliance import profile_pages

    if form not in ("html", "md"):
        raise InputError(f"--profile has no format {form}", hint="--format html or --format md")
    case = existing_case(folder)
    root = case.root.resolve()
    target = out or root.with_name(f"{root.name}.{profile}.{form}")
    if target.resolve().is_relative_to(root):
        raise InputError(f"{target} lies in the case", hint="give an --out outside of it")
    content = profile_pages(case)[form].encode()
    if target.exists() and target.read_bytes() != content:
        raise InputError(f"{target} exists", hint="give another --out; nothing is replaced")
    atomic_write(target, content)
    output.echo(target)


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
        output.echo(path if form == "html" else path.with_suffix(".md"))


def _print_results(case: "Case", form: str, fail_on: str | None) -> None:
    """Print what machines read."""
    from auditor.report.escape import visible_json
    from auditor.report.findings import suspects
    from auditor.report.junit import junit_of
    from auditor.report.result import result_json, scan_json
    from auditor.report.sarif import sarif_of

    results = {name: result_json(case, name) for name in suspects(case)}
    if form == "json":
        one = len(results) == 1
        output.emit_json(next(iter(results.values())) if one else scan_json(case))
    elif form == "sarif":
        output.write(visible_json(sarif_of(results, __version__)))
    else:
        output.write(junit_of(results, _gates(results, fail_on), fail_on))


def _gates(results: dict[str, dict[str, Any]], fail_on: str | None) -> dict[str, bool | None]:
    if fail_on is None:
        return {}
    from auditor.cli.gate import parse_gate, result_values
    from auditor.measures import all_measures

    gate = parse_gate(fail_on, {measure.name for measure in all_measures()})
    return {name: gate.holds(result_values(result)) for name, result in results.items()}
