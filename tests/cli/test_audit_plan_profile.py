"""A plan that names a matter and a profile: both are in the sealed case, and verify."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import auditor
from small_plan import plan_values, write_plan

from auditor.plan_file import plan_from

MATTER = {
    "number": "2026-17",
    "parties": [{"name": "Example GmbH", "role": "provider of the reference"}],
    "examiner": "A. Examiner",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with a finished case and its seal."""
    folder = tmp_path_factory.mktemp("profile")
    plan = write_plan(folder, matter=MATTER, profile="eu-gpai")
    done = auditor("audit", plan, "--out", folder / "case")
    assert done.code == 0, done.err
    assert auditor("seal", folder / "case", "--out", folder / "sealed").code == 0
    return folder


def test_report_and_profile_are_sealed_and_verify(folder):
    data = folder / "sealed" / "data"
    for name in ("report.html", "report.md", "report.eu-gpai.html", "report.eu-gpai.md"):
        page = (data / name).read_text()
        assert "Example GmbH (provider of the reference)" in page
        assert "A. Examiner" in page
    found = auditor("verify", folder / "sealed", "--json").json
    assert {check["id"] for check in found["checks"] if check["outcome"] == "fail"} == set()
    outcomes = {check["id"]: check["outcome"] for check in found["checks"]}
    assert outcomes["V10"] == outcomes["V11"] == "pass"


def test_an_edited_profile_page_is_found(folder, tmp_path):
    copy = Path(shutil.copytree(folder / "sealed", tmp_path / "sealed"))
    page = copy / "data" / "report.eu-gpai.html"
    page.write_text(page.read_text().replace("A. Examiner", "B. Examiner"))
    found = auditor("verify", copy, "--json")
    assert found.code == 5
    failed = {c["id"] for c in found.json["checks"] if c["outcome"] == "fail"}
    assert {"V03", "V11"} & failed


def test_a_plan_without_them_keeps_the_digest_that_it_had(folder):
    plain = plan_from(plan_values()).as_json()
    assert "matter" not in plain
    assert "profile" not in plain
    stated = json.loads((folder / "case" / "data" / "plan.json").read_text())["declared"]["plan"]
    assert stated["matter"]["parties"] == MATTER["parties"]
    assert stated["profile"] == "eu-gpai"
