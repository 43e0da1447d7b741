"""A report as Markdown: the same sentences and numbers, without drawings."""

from collections.abc import Sequence

from auditor.case import Case
from auditor.failed import failed_rows
from auditor.report import plates
from auditor.report.declared import deviations_sentence
from auditor.report.findings import Findings, planned_suspects, read_findings
from auditor.report.prefilter import stored_prefilter
from auditor.report.result import report_name, result_name
from auditor.report.templates import markdown_templates
from auditor.report.view import View, report_view
from auditor.report.withheld_notice import withheld_notice


def report_markdown(case: Case, suspect: str) -> str:
    """Return the report on one suspect, from the files of a judged case."""
    return markdown_of(report_view(read_findings(case, suspect)), case)


def markdown_of(view: View, case: Case) -> str:
    """Return a report that is already composed."""
    return (
        markdown_templates()
        .get_template("report.md.j2")
        .render(
            v=view,
            overview=len(planned_suspects(case)) > 1,
            result_file=result_name(case, view.suspect.name),
        )
    )


def overview_markdown(case: Case, all_findings: Sequence[Findings]) -> str:
    """Return the page that leads to the reports on several suspects."""
    names = plates.headline_names(all_findings)
    rows = [{row.name: row for row in findings.rows} for findings in all_findings]
    return (
        markdown_templates()
        .get_template("overview.md.j2")
        .render(
            reference=all_findings[0].reference,
            declared=deviations_sentence(case),
            withheld=withheld_notice(case),
            failed=failed_rows(case),
            context=stored_prefilter(case),
            titles=[next(r[name] for r in rows if name in r) for name in names],
            lines=[
                {
                    "findings": findings,
                    "link": report_name(case, findings.suspect.name, "md"),
                    "rows": [found.get(name) for name in names],
                }
                for findings, found in zip(all_findings, rows, strict=True)
            ],
        )
    )
