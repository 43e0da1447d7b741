"""`auditor plan` and `auditor audit`: from a plan to a report that says what departed from it."""

import json
import shutil
from pathlib import Path

import html5lib
import pytest
import yaml
from audit_plan_world import SIBLINGS, marked_run
from command_line import Done, auditor, failure
from small_plan import plan_values, write_plan

from auditor.canon import directory_digests, json_digest
from auditor.distill.canaries import canary_sets
from auditor.plan_file import load_plan, plan_from
from auditor.plan_lock import incomplete


def run_plan(path: Path, out: Path, *more: object) -> Done:
    return auditor("audit", path, "--out", out, "--json", *more)


def kinds(result: dict) -> list[str]:
    return [one["kind"] for one in result["deviations"]]


@pytest.fixture(scope="module")
def locked(tmp_path_factory) -> tuple[Path, dict]:
    """A locked plan with its finished case beside it, and what the command printed."""
    folder = tmp_path_factory.mktemp("locked")
    path = write_plan(folder)
    assert auditor("plan", "lock", path).code == 0
    done = run_plan(path, folder / "case")
    assert done.code == 0, done.err + done.out
    return path, done.json


@pytest.fixture(scope="module")
def marked(tmp_path_factory) -> tuple[Path, dict]:
    """A plan that looks for a run's marks in its student and in a stranger, carried out."""
    folder = tmp_path_factory.mktemp("marked")
    marked_run(folder)
    suspects = [
        {"spec": "local:marked/student", "marks": {"run": "marked"}},
        {
            "spec": "tiny:independent",
            "marks": {"run": "marked", "reveal": "marked/marks-reveal.json"},
        },
    ]
    path = write_plan(folder, suspects=suspects)
    done = run_plan(path, folder / "case")
    assert done.code == 0, done.err + done.out
    return folder, done.json


def test_a_locked_plan_carried_out_as_it_was_locked_has_no_deviation(locked):
    path, result = locked
    lock = json.loads(path.with_suffix(".lock.json").read_text())
    assert result["deviations"] == []
    assert result["lock"] == lock["digest"]
    assert result["plan"] == json_digest(load_plan(path).as_json())
    assert result["sealed"] is None
    assert result["collections"] == 1


def test_the_plan_and_the_lock_lie_in_the_case(locked):
    path, _ = locked
    held = json.loads((path.parent / "case" / "data" / "plan.json").read_text())
    assert held["command"] == "audit"
    assert held["declared"]["plan"] == load_plan(path).as_json()
    assert held["declared"]["lock"] == json.loads(path.with_suffix(".lock.json").read_text())


def test_the_measurements_are_those_of_compare_on_the_same_request(locked, tmp_path):
    _, result = locked
    words = (
        "compare tiny:independent tiny:teacher --control tiny:sibling=sibling --suite instructions "
        "--suite ood --probes 6 --max-new-tokens 6 --json --out"
    ).split()
    compared = auditor(*words, tmp_path / "case")
    assert compared.code == 0, compared.err
    ours = {row["measure"]: row for row in result["results"][0]["measurements"]}
    # The plan names no encoder, compare takes the default one.
    theirs = [row for row in compared.json["measurements"] if row["group"] != "embedding"]
    assert len(theirs) > 20
    for row in theirs:
        same = {key: value for key, value in row.items() if key != "id"}
        assert {key: value for key, value in ours[row["measure"]].items() if key != "id"} == same


def test_the_report_has_the_plan_and_says_that_nothing_is_sealed(locked):
    path, _ = locked
    for name in ("report.html", "report.md"):
        text = (path.parent / "case" / "data" / name).read_text()
        assert "Plan and deviations" in text
        assert "Does the suspect derive from the teacher?" in text
        assert "cannot show that the files stayed as they were" in text
    said = auditor("audit", path, "--out", path.parent / "case").out
    assert "not sealed" in said
    assert "deviations from the plan: none" in said


def test_an_unlocked_plan_is_a_deviation(marked):
    folder, result = marked
    assert kinds(result) == ["unlocked"]
    assert result["lock"] is None
    assert "was not locked" in (folder / "case" / "data" / "report-marked.md").read_text()


def test_a_mark_is_found_in_the_student_with_the_p_of_its_rank(marked):
    folder, result = marked
    test = result["results"][0]["marks"]["tests"]["canaries"]
    reveal = json.loads((folder / "marked" / "marks-reveal.json").read_text())
    (one,) = canary_sets(bytes.fromhex(reveal["key"]), 1, siblings=SIBLINGS)
    said = json.loads((folder / "case" / "data" / "marks" / "marked.json").read_text())
    losses = said["tests"]["canaries"]["observed"]["losses_nats"][0]
    rank = 1 + sum(loss <= losses[one.chosen] for i, loss in enumerate(losses) if i != one.chosen)
    # One set: p = rank / (m + 1); two tests in the case: Holm takes the smaller one twice.
    assert test["p_value"] == pytest.approx(rank / (SIBLINGS + 1))
    assert test["adjusted_p"] == pytest.approx(2 * rank / (SIBLINGS + 1))
    assert test["floor"] == pytest.approx(1 / (SIBLINGS + 1))
    assert test["found"]


def test_no_mark_is_found_in_a_stranger(marked):
    _, result = marked
    test = result["results"][1]["marks"]["tests"]["canaries"]
    assert test["p_value"] > 0.05
    assert not test["found"]


def test_marks_do_not_move_the_reading(marked, tmp_path):
    folder, result = marked
    bare = [{"spec": "local:marked/student"}, {"spec": "tiny:independent"}]
    (tmp_path / "marked").symlink_to(folder / "marked")
    without = run_plan(write_plan(tmp_path, suspects=bare), tmp_path / "case").json
    for ours, theirs in zip(result["results"], without["results"], strict=True):
        assert ours["conclusion"] == theirs["conclusion"]
        assert "marks" not in theirs


def test_the_key_of_the_marks_is_not_in_the_case(marked):
    folder, _ = marked
    key = (folder / "fixed.key").read_bytes()
    for path in (folder / "case").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert key not in content
            assert key.hex().encode() not in content


def test_the_report_shows_the_marks_with_their_floor(marked):
    folder, _ = marked
    text = (folder / "case" / "data" / "report-marked.md").read_text()
    section = text[text.index("## Marks") : text.index("## Findings")]
    assert "99 siblings" in section
    assert "| M001 | Canaries |" in section
    assert "neither the reading nor any likelihood ratio" in section
    assert "no sign of independence" in section


def test_every_page_is_strict_html_and_the_overview_counts_the_deviations(marked):
    folder, _ = marked
    pages = sorted((folder / "case" / "data").glob("report*.html"))
    assert len(pages) == 3
    for page in pages:
        html5lib.HTMLParser(strict=True).parse(page.read_text())
    for name in ("report.html", "report.md"):
        assert "with 1 deviation from it" in (folder / "case" / "data" / name).read_text()


def test_the_template_is_a_complete_plan(tmp_path):
    done = auditor("plan", "init", tmp_path / "plan.yaml")
    assert done.code == 0
    assert incomplete(load_plan(tmp_path / "plan.yaml")) == []
    # Every key of a plan is there, so that nobody has to look for one.
    written = yaml.safe_load((tmp_path / "plan.yaml").read_text())
    assert set(written) == set(plan_from(plan_values()).as_json())
    again = failure(auditor("plan", "init", tmp_path / "plan.yaml", "--json"))
    assert "left alone" in again["message"]


def test_show_says_what_is_missing_and_what_changed(locked, tmp_path):
    shutil.copy(locked[0].with_suffix(".lock.json"), tmp_path / "plan.lock.json")
    shown = auditor("plan", "show", write_plan(tmp_path, question=None, probes=7), "--json").json
    assert shown["changed since the lock"] == ["plan.probes", "plan.question"]
    assert shown["missing"] == ["question: what is to be answered"]
    assert "probes: 7" in auditor("plan", "show", tmp_path / "plan.yaml").out


def test_the_gate_of_an_audit(locked):
    path, _ = locked
    out = path.parent / "case"
    before = directory_digests(out / "data")
    assert run_plan(path, out, "--fail-on", "logit-js > 0").code == 3
    assert run_plan(path, out, "--fail-on", "logit-js < 0").code == 0
    # Without a calibration there is no likelihood ratio to decide by.
    assert run_plan(path, out, "--fail-on", "MI > 10").code == 4
    assert directory_digests(out / "data") == before


def test_a_gate_is_not_passed_by_an_audit_that_departed_from_its_plan(marked):
    folder, _ = marked
    path, out = folder / "plan.yaml", folder / "case"
    assert run_plan(path, out, "--fail-on", "logit-js < 0").code == 4
    assert run_plan(path, out, "--fail-on", "logit-js > 0").code == 3
    assert run_plan(path, out).code == 0
