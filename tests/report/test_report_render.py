"""Rendering: which files are written, and the same bytes each time."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from case_fixture import build_case
from jinja2 import UndefinedError

from auditor.errors import CaseError
from auditor.report.integrity import checksum_lines, listed_files
from auditor.report.render import write_reports
from auditor.report.templates import html_templates

CONTROLS = [("indep-a", "independent"), ("sib", "sibling")]
PROGRAM = """
import sys
from pathlib import Path
from auditor.case import Case
from auditor.report.integrity import checksum_lines, listed_files
from auditor.report.render import write_reports
write_reports(Case(Path(sys.argv[1])))
assert "torch" not in sys.modules
"""


def written(root: Path) -> dict[str, bytes]:
    found = sorted([*root.glob("data/report*"), *root.glob("data/result*")])
    return {path.name: path.read_bytes() for path in found}


def test_one_suspect_gives_three_files(rendered):
    assert list(written(rendered("plain").root)) == ["report.html", "report.md", "result.json"]


def test_several_suspects_give_a_report_each_and_an_overview(rendered):
    case = rendered("scan")
    assert sorted(written(case.root)) == [
        "report-student.html",
        "report-student.md",
        "report-tuned-1.5.html",
        "report-tuned-1.5.md",
        "report.html",
        "report.md",
        "result-student.json",
        "result-tuned-1.5.json",
    ]
    overview = written(case.root)["report.html"].decode()
    assert 'href="report-tuned-1.5.html"' in overview


def test_another_process_renders_the_same_bytes_in_a_moved_case(tmp_path, rendered):
    first = rendered("scan")
    moved = tmp_path / "moved"
    shutil.copytree(first.root, moved)
    for name in written(moved):
        (moved / "data" / name).unlink()
    # The custody log changes whenever somebody works on the case; a report must not.
    (moved / "data" / "custody.jsonl").write_text('{"time": "later"}\n')
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(moved)],
        env={"PYTHONHASHSEED": "123", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert written(moved) == written(first.root)


def test_rendering_returns_the_html_of_each_suspect(tmp_path):
    case = build_case(tmp_path / "case", positions=False)
    assert write_reports(case) == {"student": case.data / "report.html"}


def test_report_without_judgement_is_refused(tmp_path):
    case = build_case(tmp_path / "case")
    (case.data / "conclusion.json").unlink()
    with pytest.raises(CaseError, match=r"conclusion\.json is missing"):
        write_reports(case)
    assert written(case.root) == {}


def test_statistics_of_other_controls_are_refused(tmp_path):
    case = build_case(tmp_path / "case", controls=CONTROLS)
    statistics = case.read_json("statistics.json")
    statistics["suspects"]["student"][1]["control_values"] = [0.5]
    case.write_json("statistics.json", statistics)
    with pytest.raises(CaseError, match="S002 has 1 control values for 2 controls"):
        write_reports(case)


def test_templates_refuse_an_unknown_name():
    with pytest.raises(UndefinedError):
        html_templates().from_string("{{ nothing }}").render()


def test_file_list_matches_sha256sum(tmp_path, rendered):
    case = rendered("plain")
    files = listed_files(case)
    (tmp_path / "files.sha256").write_text(checksum_lines(files))
    run = subprocess.run(
        ["sha256sum", "--check", "--quiet", "--strict", str(tmp_path / "files.sha256")],
        cwd=case.data, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (0, "")
    names = {file.name for file in files}
    assert {"plan.json", "statistics.json", "records/student/instructions@1.jsonl"} <= names
    assert not {"custody.jsonl", "report.html", "result.json"} & names
