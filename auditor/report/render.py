"""Write the reports of a judged case: HTML, Markdown and JSON, the same bytes each time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from auditor.canon import pretty_json
from auditor.case import Case, atomic_write
from auditor.report.compliance import declared_profile, profile_names, profile_pages
from auditor.report.findings import planned_suspects, read_findings, read_subjects, suspects
from auditor.report.html import html_of, overview_html
from auditor.report.integrity import ListedFile, listed_files
from auditor.report.markdown import markdown_of, overview_markdown
from auditor.report.result import report_name, result_name, stored_result
from auditor.report.view import report_view


def write_reports(case: Case) -> dict[str, Path]:
    """Write every report and result of the case; return {suspect: path of its HTML report}.

    One suspect: ``report.html``, ``report.md``, ``result.json``. Several: the same for each with
    its name (``report-NAME.html``), and ``report.html`` and ``report.md`` lead to them. A plan with
    a profile has ``report.PROFILE.html`` and ``.md`` besides.

    Raises:
        CaseError: the case is not judged.
        StorageError: the disk is full; nothing half-written is left.
    """
    for name, content in rendered(case):
        atomic_write(case.data / name, content)
    return {name: case.data / report_name(case, name) for name in suspects(case)}


def rendered(case: Case, files: Sequence[ListedFile] | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield (name in ``data/``, content) of every report and result, from the stored files.

    Args:
        case: judged.
        files: that the reports list; None reads them all.

    Raises:
        CaseError: the case is not judged.
    """
    subjects = read_subjects(case)
    files = listed_files(case) if files is None else files
    everything = [read_findings(case, name, subjects) for name in suspects(case)]
    for findings in everything:
        name = findings.suspect.name
        view = report_view(findings, files)
        yield report_name(case, name), html_of(view, case).encode()
        yield report_name(case, name, "md"), markdown_of(view, case).encode()
        yield result_name(case, name), pretty_json(stored_result(case, name))
    if len(planned_suspects(case)) > 1:
        yield "report.html", overview_html(case, everything, files).encode()
        yield "report.md", overview_markdown(case, everything).encode()
    profile = declared_profile(case)
    if profile is not None:
        pages = profile_pages(case)
        html, markdown = profile_names(profile)
        yield html, pages["html"].encode()
        yield markdown, pages["md"].encode()
