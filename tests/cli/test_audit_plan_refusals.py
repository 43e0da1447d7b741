"""A plan that cannot be carried out as planned is refused before any model runs."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import TINY, auditor, failure
from small_plan import plan_values, write_plan

from auditor.canon import json_digest
from auditor.plan_lock import lock_path


def refused(path: Path, *more: object) -> dict:
    """Return the error of an audit that left no case behind."""
    out = path.parent / "case"
    error = failure(auditor("audit", path, "--out", out, "--json", *more))
    assert not out.exists()
    return error


def lock(path: Path) -> dict:
    done = auditor("plan", "lock", path, "--json")
    assert done.code == 0, done.err + done.out
    return done.json["lock"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"suspect": "tiny:independent"}, ("unknown key suspect", "did you mean suspects?")),
        ({"sampling": {"repeat": 2}}, ("sampling.repeat", "did you mean repeats?")),
        ({"suspects": [{"spec": "a", "mark": {}}]}, ("suspects.0.mark", "did you mean marks?")),
        ({"reference": None}, ("the key reference is missing", "keys allowed here")),
        ({"suspects": []}, ("suspects", "")),
        ({"probes": 0}, ("probes", "found 0")),
        ({"schema": "auditor/audit-plan/2"}, ("schema", "auditor/audit-plan/1")),
        ({"measures": ["logit-jss"]}, ("unknown measure 'logit-jss'", "did you mean logit-js")),
        ({"suites": ["instructoins"]}, ("instructoins", "instructions")),
        ({"suspects": [{"spec": "tiny:teacher"}]}, ("the reference itself", "")),
        ({"suspects": [{"spec": "./nowhere"}]}, ("nowhere does not exist", "")),
        ({"controls": [{"spec": "tiny:independent"}]}, ("is the suspect", "leave it out")),
        ({"controls": [{"spec": "pack:zoo", "role": "sibling"}]}, ("a pack states", "")),
        (
            {"suspects": [{"spec": "tiny:independent", "marks": {"run": "nowhere"}}]},
            ("nowhere", ""),
        ),
        ({"decision": "reading/2"}, ("decision", "--accept-deviation")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_cannot_be_used_is_named(tmp_path, changes, words):
    error = refused(write_plan(tmp_path, **changes))
    said = f"{error['message']} | {error['hint']}"
    assert all(word in said for word in words), said


def test_a_folder_that_is_the_reference_is_seen_under_another_name(tmp_path):
    link = tmp_path / "other-name"
    link.symlink_to(TINY / "teacher")
    plan = write_plan(
        tmp_path, reference=f"local:{TINY / 'teacher'}", suspects=[{"spec": "./other-name"}]
    )
    assert "is the reference itself" in refused(plan)["message"]


def test_a_missing_plan_is_named(tmp_path):
    error = refused(tmp_path / "nowhere.yaml")
    assert error["type"] == "PlanError"
    assert "cannot read the plan" in error["message"]


def test_a_key_given_twice_is_refused(tmp_path):
    path = write_plan(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"probes": 6', '"probes": 6, "probes": 7'))
    assert "stands twice" in refused(path)["message"]


@pytest.mark.parametrize("key", ["question", "hypotheses", "controls", "population", "measures"])
def test_an_incomplete_plan_is_not_locked(tmp_path, key):
    path = write_plan(tmp_path, **{key: None})
    error = failure(auditor("plan", "lock", path, "--json"))
    assert "incomplete" in error["message"]
    assert key in error["hint"]
    assert not lock_path(path).exists()


def test_fewer_control_families_than_planned_are_not_locked(tmp_path):
    population = {"description": "Stories.", "families": {"independent": 2, "sibling": 1}}
    path = write_plan(tmp_path, population=population)
    error = failure(auditor("plan", "lock", path, "--json"))
    assert "asks for 2 and has 0" in error["message"]
    assert not lock_path(path).exists()


def test_locking_twice_changes_nothing_and_another_content_is_refused(tmp_path):
    path = write_plan(tmp_path)
    first = lock(path)
    assert lock(path) == first
    write_plan(tmp_path, seed=1)
    error = failure(auditor("plan", "lock", path, "--json"))
    assert "plan.seed" in error["message"]
    assert json.loads(lock_path(path).read_text()) == first


def test_a_plan_changed_after_its_lock_is_refused_naming_what_differs(tmp_path):
    lock(write_plan(tmp_path))
    error = refused(write_plan(tmp_path, probes=7, title="Another title"))
    assert "plan.probes" in error["message"]
    assert "plan.title" in error["message"]
    assert "plan.seed" not in error["message"]
    assert "--accept-deviation" in error["hint"]


def test_the_lock_of_another_plan_is_refused(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    held = write_plan(other, reference="tiny:sibling", controls=[{"spec": "tiny:teacher"}],
                      population={"description": "Stories."})  # fmt: skip
    lock(held)
    path = write_plan(tmp_path)
    shutil.copy(lock_path(held), lock_path(path))
    message = refused(path)["message"]
    assert "plan.controls" in message
    assert "more" in message


def test_an_edited_lock_is_refused_even_with_a_reason(tmp_path):
    path = write_plan(tmp_path)
    content = lock(path)
    content["plan"]["probes"] = 7
    lock_path(path).write_text(json.dumps(content))
    write_plan(tmp_path, probes=7)
    error = refused(path, "--accept-deviation", "it is fine")
    assert "was edited" in error["message"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '"text"', "\x00"])
def test_a_file_that_is_no_lock_is_refused(tmp_path, content):
    path = write_plan(tmp_path)
    lock_path(path).write_text(content)
    assert "is not the lock of a plan" in refused(path)["message"]


def test_a_model_that_changed_since_the_lock_is_named(tmp_path, tiny_copy):
    path = write_plan(tmp_path, suspects=[{"spec": "./suspect"}])
    held = lock(path)
    assert set(held["subjects"]) == {"teacher", "suspect", "sibling"}
    shutil.copy(TINY / "sibling" / "model.safetensors", tiny_copy / "model.safetensors")
    write_plan(tmp_path, suspects=[{"spec": "./suspect"}], controls=[{"spec": "tiny:independent"}])
    message = refused(path)["message"]
    assert "subjects.suspect.digest" in message


def test_a_reason_without_a_difference_is_refused(tmp_path):
    path = write_plan(tmp_path)
    lock(path)
    assert "nothing differs" in refused(path, "--accept-deviation", "why not")["message"]


def test_the_digest_of_a_plan_covers_what_it_leaves_to_defaults():
    from auditor.plan_file import plan_from

    said = plan_values(sampling={"max_new_tokens": 6, "temperature": 1.0}, seed=0)
    plans = [plan_from(values).as_json() for values in (plan_values(), said, plan_values(seed=1))]
    digests = [json_digest(plan) for plan in plans]
    assert digests[0] == digests[1] != digests[2]
