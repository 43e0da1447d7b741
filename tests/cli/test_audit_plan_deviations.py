"""What departs from a plan is enumerated; interruptions change no byte of what was found."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from audit_plan_world import marked_run
from command_line import auditor, failure
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from small_plan import write_plan

from auditor import __version__
from auditor.canon import directory_digests
from auditor.case import Case
from auditor.data import data_dir
from auditor.deviations import write_deviations
from auditor.judge.findings import RULES

SCHEMAS = {
    path.name: json.loads(path.read_bytes())
    for path in (data_dir("reports") / "schema").glob("*.json")
}
REGISTRY = Registry().with_resources(
    (name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()
)


def assert_follows(name: str, value: object) -> None:
    Draft202012Validator(SCHEMAS[name], registry=REGISTRY).validate(value)


def carried_out(path: Path, *more: object) -> dict:
    done = auditor("audit", path, "--out", path.parent / "case", "--json", *more)
    assert done.code == 0, done.err + done.out
    return done.json


def found(root: Path) -> dict[str, str]:
    """Return the digests of everything a case holds but wall-clock times."""
    digests = directory_digests(root / "data")
    return {name: value for name, value in digests.items() if name != "custody.jsonl"}


@pytest.fixture(scope="module")
def deviating(tmp_path_factory) -> tuple[Path, dict]:
    """A plan that was changed after its lock, asks for more than there is, and says why."""
    folder = tmp_path_factory.mktemp("deviating")
    marked_run(folder)
    items = [{"id": f"own-{n}", "category": "own", "text": f"Once there were {n}"} for n in (1, 2)]
    (folder / "own.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    marks = {"run": "marked", "suite": "own.jsonl", "probes": 3}
    changes = {
        "suspects": [{"spec": "local:marked/student", "marks": marks}],
        "suites": ["own.jsonl"],
        "access": "TEXT",
        "measures": ["text-chrf", "logit-js"],
    }
    path = write_plan(folder, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditor.__version__", "0.0.9")
        assert auditor("plan", "lock", path).code == 0
    write_plan(folder, **changes, seed=1, population={"description": "?", "families": {"base": 1}})
    return path, carried_out(path, "--accept-deviation", "the court asked for another seed")


def of_kind(result: dict, kind: str) -> list[dict]:
    return [one for one in result["deviations"] if one["kind"] == kind]


def test_what_changed_since_the_lock_stands_there_with_the_reason(deviating):
    _, result = deviating
    changed = {one["what"].split()[0]: one for one in of_kind(result, "changed")}
    assert {"plan.seed", "plan.population.description"} <= set(changed)
    seed = changed["plan.seed"]
    assert (seed["planned"], seed["found"]) == (0, 1)
    assert seed["reason"] == "the court asked for another seed"


def test_missing_controls_and_probes_are_enumerated(deviating):
    _, result = deviating
    (controls,) = of_kind(result, "controls")
    assert (controls["planned"], controls["found"]) == (1, 0)
    probes, prompts = of_kind(result, "probes")
    assert (probes["planned"], probes["found"]) == (6, 2)
    assert (prompts["planned"], prompts["found"]) == (3, 2)


def test_another_release_and_other_rules_are_enumerated(deviating):
    path, result = deviating
    (release,) = of_kind(result, "release")
    assert (release["planned"], release["found"]) == ("0.0.9", __version__)
    assert of_kind(result, "rules") == []
    case = Case(path.parent / "case")
    conclusion = case.read_json("conclusion.json")
    case.write_json("conclusion.json", {**conclusion, "rules": "reading/99"})
    write_deviations(case)
    (rules,) = of_kind(case.read_json("deviations.json"), "rules")
    case.write_json("conclusion.json", conclusion)
    write_deviations(case)
    assert (rules["planned"], rules["found"]) == (RULES, "reading/99")


def test_requests_without_a_reply_are_enumerated(tmp_path):
    items = [{"id": f"own-{n}", "category": "own", "text": f"Once {n}"} for n in (1, 2, 3)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (tmp_path / "r.jsonl").write_text('{"probe_id": "own-2", "text": "there was a fox"}\n')
    path = write_plan(
        tmp_path, suspects=[{"spec": "records:r.jsonl"}], suites=["own.jsonl"], probes=3
    )
    (replies,) = of_kind(carried_out(path), "replies")
    assert replies["what"].startswith("r left 2 of 3 requests")
    assert (replies["planned"], replies["found"]) == (3, 1)


def test_a_primary_measure_without_a_value_is_enumerated(deviating):
    _, result = deviating
    (measure,) = of_kind(result, "measure")
    assert "logit-js is undefined for marked" in measure["what"]


def test_marks_that_the_access_does_not_allow_are_undefined_not_absent(deviating):
    _, result = deviating
    test = result["results"][0]["marks"]["tests"]["canaries"]
    assert (test["p_value"], test["adjusted_p"], test["found"]) == (None, None, None)
    assert "needs LOGITS" in test["undefined"]
    (marks,) = of_kind(result, "marks")
    assert "canaries" in marks["what"]


def test_the_report_lists_every_deviation(deviating):
    path, result = deviating
    text = (path.parent / "case" / "data" / "report.md").read_text()
    section = text[text.index("### Deviations") : text.index("## Findings")]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    # A head, then a row each, then the head and the one row of the marks.
    assert len(rows) == 1 + len(result["deviations"]) + 2
    assert section.count("the court asked for another seed") == len(of_kind(result, "changed"))
    assert "not tested" in section


def test_files_and_output_follow_their_schemas(deviating):
    path, result = deviating
    data = path.parent / "case" / "data"
    assert_follows("audit-1.json", result)
    for name in ("plan", "deviations", "result"):
        assert_follows(f"{name}-1.json", json.loads((data / f"{name}.json").read_text()))
    assert_follows("case-marks-1.json", json.loads((data / "marks.json").read_text()))
    tests = json.loads((data / "marks" / "marked.json").read_text())
    assert_follows("case-mark-tests-1.json", tests)
    assert_follows("plan-lock-1.json", json.loads(path.with_suffix(".lock.json").read_text()))
    assert_follows("audit-plan-1.json", json.loads(path.read_text()))


def test_the_stages_one_by_one_give_the_same_bytes(deviating):
    path, _ = deviating
    case = path.parent / "case"
    before = found(case)
    for name in ("marks.json", "marks/marked.json", "deviations.json", "conclusion.json"):
        (case / "data" / name).unlink()
    for stage in ("collect", "measure", "judge", "report"):
        assert auditor(stage, case).code == 0
    assert found(case) == before


def test_a_run_that_was_replaced_after_planning_is_refused(deviating, tmp_path):
    path, _ = deviating
    case = path.parent / "case"
    held = (case / "data" / "marks.json").read_bytes()
    plan = case / "data" / "plan.json"
    content = plan.read_bytes()
    (case / "data" / "marks.json").unlink()
    (case / "data" / "marks" / "marked.json").rename(tmp_path / "kept.json")
    other = json.loads(content)
    other["marks"][0]["commitment"] = "hmac-sha256:" + "0" * 64
    plan.write_text(json.dumps(other))
    try:
        done = auditor("collect", case)
        assert done.code == 2
        assert "commits to other marks" in done.err
    finally:
        plan.write_bytes(content)
        (tmp_path / "kept.json").rename(case / "data" / "marks" / "marked.json")
        (case / "data" / "marks.json").write_bytes(held)


def test_no_resume_leaves_a_case_alone(deviating):
    path, _ = deviating
    words = ("--accept-deviation", "the court asked for another seed", "--no-resume", "--json")
    error = failure(auditor("audit", path, "--out", path.parent / "case", *words))
    assert "holds a case" in error["message"]


def test_killed_at_random_moments_and_repeated_it_gives_the_same_bytes(tmp_path):
    marked_run(tmp_path)
    marks = {"run": "marked"}
    path = write_plan(
        tmp_path, suspects=[{"spec": "local:marked/student", "marks": marks}], probes=4
    )
    # Not in this process: other tests may have changed its threads, which a case records.
    command = [sys.executable, "-m", "auditor", "audit", str(path), "--json", "--out"]
    whole = subprocess.run([*command, str(tmp_path / "case")], capture_output=True, text=True)
    straight = json.loads(whole.stdout)
    out = tmp_path / "killed"
    command.append(str(out))
    moments = random.Random(5)
    killed = 0
    for reached in ("records", "marks"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not (out / "data" / reached).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True)
    assert killed >= 1
    assert done.returncode == 0, done.stderr
    assert found(out) == found(tmp_path / "case")
    tests = json.loads((out / "data" / "marks" / "marked.json").read_text())
    assert tests["tests"]["canaries"]["observed"]["losses_nats"]
    assert_follows("case-mark-tests-1.json", tests)
    again = json.loads(done.stdout)
    assert again["collections"] > 1 == straight["collections"]
    assert again["deviations"] == straight["deviations"]
