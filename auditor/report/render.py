"""Write the reports of a judged case: HTML, Markdown and JSON, the same bytes each time."""

from pathlib import Path

from auditor.case import Case, atomic_write
from auditor.report.findings import Findings, read_findings, read_subjects, suspects
from auditor.report.html import html_of, overview_html
from auditor.report.integrity import listed_files
from auditor.report.markdown import markdown_of, overview_markdown
from auditor.report.result import report_name, result_name, stored_result
from auditor.report.view import report_view


def write_reports(case: Case) -> dict[str, Path]:
    """Write every report and result of the case; return {suspect: path of its HTML report}.

    One suspect: ``report.html``, ``report.md``, ``result.json``. Several: the same for each with
    its name (``report-NAME.html``), and ``report.html`` and ``report.md`` lead to them.

    Raises:
        CaseError: the case is not judged.
        StorageError: the disk is full; nothing half-written is left.
    """
    subjects = read_subjects(case)
    files = listed_files(case)
    everything = [read_findings(case, name, subjects) for name in suspects(case)]
    paths: dict[str, Path] = {}
    for findings in everything:
        name = findings.suspect.name
        view = report_view(findings, files)
        paths[name] = _write(case, report_name(case, name), html_of(view, case))
        _write(case, report_name(case, name, "md"), markdown_of(view, case))
        case.write_json(result_name(case, name), stored_result(case, name))
    if len(everything) > 1:
        _write_overview(case, everything)
    return paths


def _write_overview(case: Case, everything: list[Findings]) -> None:
    files = listed_files(case)
    _write(case, "report.html", overview_html(case, everything, files))
    _write(case, "report.md", overview_markdown(case, everything))


def _write(case: Case, name: str, text: str) -> Path:
    path = case.data / name
    atomic_write(path, text.encode())
    return path
