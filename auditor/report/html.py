"""A report as one HTML file: no script, nothing loaded, readable on paper and on a phone."""

from collections.abc import Sequence

from auditor.case import Case
from auditor.failed import failed_rows
from auditor.report import plates, words
from auditor.report.declared import deviations_sentence
from auditor.report.findings import Findings, planned_suspects, read_findings
from auditor.report.integrity import ListedFile, checksum_lines
from auditor.report.prefilter import stored_prefilter
from auditor.report.result import report_name, result_name
from auditor.report.templates import html_templates
from auditor.report.view import View, report_view
from auditor.report.withheld_notice import withheld_notice


def report_html(case: Case, suspect: str) -> str:
    """Return the report on one suspect, from the files of a judged case."""
    return html_of(report_view(read_findings(case, suspect)), case)


def html_of(view: View, case: Case) -> str:
    """Return a report that is already composed."""
    return (
        html_templates()
        .get_template("report.html.j2")
        .render(
            v=view,
            overview=len(planned_suspects(case)) > 1,
            result_file=result_name(case, view.suspect.name),
        )
    )


def overview_html(case: Case, all_findings: Sequence[Findings], files: Sequence[ListedFile]) -> str:
    """Return the page that leads to the reports on several suspects."""
    reference = all_findings[0].reference
    names = plates.headline_names(all_findings)
    count = len(all_findings)
    return (
        html_templates()
        .get_template("overview.html.j2")
        .render(
            question=f"How closely do {words.counted(count, 'suspect')} mimic {reference.name}?",
            reference=reference,
            controls=all_findings[0].controls,
            columns=[_title(all_findings, name) for name in names],
            lines=[_line(case, findings, names) for findings in all_findings],
            figure=plates.overview_plate("overview", all_findings),
            declared=deviations_sentence(case),
            withheld=withheld_notice(case),
            failed=failed_rows(case),
            limits=list(all_findings[0].conclusion["limits"]),
            context=stored_prefilter(case),
            files=files,
            checksums=checksum_lines(list(files)),
        )
    )


def _title(all_findings: Sequence[Findings], name: str) -> str:
    row = next(row for f in all_findings for row in f.rows if row.name == name)
    return f"{row.title} ({row.unit}, {row.closer} is closer)"


def _line(case: Case, findings: Findings, names: Sequence[str]) -> dict[str, object]:
    by_name = {row.name: row for row in findings.rows}
    return {
        "findings": findings,
        "link": report_name(case, findings.suspect.name),
        "reading": findings.conclusion["reading"],
        "basis": findings.conclusion["basis"],
        "rows": [by_name.get(name) for name in names],
    }
