"""The sample reports in reports/samples are what this version writes.

``student-vs-teacher`` and ``distillation`` are of made-up numbers; ``demonstration`` is of the case
that `auditor demo` made of real models, kept beside this file without its largest arrays: its
reports list those files alone, and show no table of likely tokens.

They change only on purpose: with AUDITOR_UPDATE_SAMPLES=1 in the environment this file writes
them anew, and still fails, so that an update cannot pass for a test.
"""

import os
import re
import tarfile
from pathlib import Path

import pytest
from case_fixture import build_case
from run_fixture import write_run
from student_fixture import add_student_report

from auditor.case import Case
from auditor.data import data_dir
from auditor.report.distillation import write_run_report
from auditor.report.render import write_reports

SAMPLES = data_dir("reports") / "samples"
CONTROLS = [("indep-a", "independent"), ("indep-b", "independent"), ("sib", "sibling")]
DEMONSTRATION = Path(__file__).with_name("demonstration.tar.xz")
SHOWN = ("report.html", "report-distilled.html", "report-replica.html", "report-same-data-03.html")
"""Of the demonstration: all suspects, a student, a copy, and a model without a link."""
UPDATE = os.environ.get("AUDITOR_UPDATE_SAMPLES") == "1"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, bytes]:
    """Return {path under reports/samples: content} as rendered now."""
    root = tmp_path_factory.mktemp("samples")
    case = build_case(root / "case", controls=CONTROLS)
    write_reports(case)
    names = ("report.html", "report.md", "result.json")
    found = {f"student-vs-teacher/{name}": (case.data / name).read_bytes() for name in names}
    run = write_run_report(add_student_report(write_run(root / "run")))
    real = demonstration(root)
    found |= {f"demonstration/{name}": (real.data / name).read_bytes() for name in SHOWN}
    return {**found, "distillation/report.html": run.read_bytes()}


def demonstration(root: Path) -> Case:
    """Return the case of `auditor demo` with reports that are written now."""
    with tarfile.open(DEMONSTRATION) as archive:
        archive.extractall(root / "demonstration", filter="data")
    case = Case(root / "demonstration")
    assert not list(case.data.glob("report*"))
    write_reports(case)
    return case


def comparable(content: bytes) -> str:
    """Return a report without its drawings: their bytes depend on the release of matplotlib."""
    return re.sub(r"(<svg [^>]*>).*?</svg>", r"\1</svg>", content.decode(), flags=re.S)


def test_samples_are_the_reports_of_this_version(written):
    if UPDATE:
        for name, content in written.items():
            path = SAMPLES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        pytest.fail("the samples were written anew: look at the difference and run again")
    stored = {
        path.relative_to(SAMPLES).as_posix(): path for path in SAMPLES.rglob("*") if path.is_file()
    }
    assert sorted(stored) == sorted(written)
    for name, content in written.items():
        assert comparable(stored[name].read_bytes()) == comparable(content), name


def test_samples_are_small():
    files = [path for path in SAMPLES.rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) < 3_000_000


@pytest.mark.parametrize(
    ("suspect", "reading"),
    [("distilled", "imitation"), ("replica", "replication"), ("same-data-03", "no-link")],
)
def test_the_demonstration_shows_each_reading(suspect, reading):
    page = (SAMPLES / "demonstration" / f"report-{suspect}.html").read_text()
    assert re.findall(r'<span class="word">([^<]*)</span>', page) == [reading]
