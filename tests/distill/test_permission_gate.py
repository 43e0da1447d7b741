import datetime
import json
import subprocess
import sys
from pathlib import Path

import pytest
from distill_world import logits_recipe, logits_run, make_teacher, write_permission

from auditor.distill.finished_run import FinishedRun
from auditor.distill.permission import (
    check_digest,
    read_permission,
    require_permission,
    template,
    write_template,
)
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill, forecast
from auditor.errors import InputError, PermissionRefusedError

DAY = datetime.date(2026, 5, 17)


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A teacher that does not exist: reading it would raise SubjectError, not the refusal."""
    return tmp_path / "no-such-teacher"


def refusal(tmp_path: Path, teacher: Path, /, **permission: object) -> PermissionRefusedError:
    recipe = logits_run(tmp_path, teacher)
    write_permission(tmp_path / "permission.json", f"local:{teacher}", **permission)
    with pytest.raises(PermissionRefusedError) as caught:
        distill(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    return caught.value


@pytest.mark.parametrize("verdict", ["deny", "unknown"])
def test_deny_and_unknown_stop_before_the_teacher_is_read(tmp_path, nowhere, verdict):
    assert f"verdict {verdict}" in refusal(tmp_path, nowhere, verdict=verdict).message


def test_expired_permission_stops(tmp_path, nowhere):
    assert "expired on 2020-01-31" in refusal(tmp_path, nowhere, expires="2020-01-31").message


def test_permission_holds_on_its_last_day_and_not_after(tmp_path, nowhere):
    recipe = logits_run(tmp_path, nowhere)
    write_permission(tmp_path / "permission.json", f"local:{nowhere}", expires="2026-05-17")
    permission = require_permission(recipe, today=DAY)
    assert permission is not None
    assert permission.verdict == "permit"
    with pytest.raises(PermissionRefusedError, match="expired"):
        require_permission(recipe, today=DAY + datetime.timedelta(days=1))


def test_permission_of_another_teacher_stops(tmp_path, nowhere):
    error = refusal(tmp_path, nowhere, teacher={"spec": "smollm2", "digest": None})
    assert "is for the teacher 'smollm2'" in error.message


def test_missing_permission_names_the_command_that_prints_a_template(tmp_path, nowhere):
    values = logits_recipe(tmp_path, nowhere)
    del values["permission"]
    with pytest.raises(PermissionRefusedError) as caught:
        forecast(recipe_from(values, tmp_path))
    assert f"python -m auditor.distill.permission local:{nowhere}" in str(caught.value.hint)


def test_missing_permission_file_is_a_refusal(tmp_path, nowhere):
    recipe = logits_run(tmp_path, nowhere)
    (tmp_path / "permission.json").unlink()
    with pytest.raises(PermissionRefusedError, match="cannot read the permission"):
        distill(recipe, tmp_path / "run")


def test_permission_for_other_weights_stops(tmp_path, teacher):
    given = {"spec": f"local:{teacher}", "digest": "sha256:" + "0" * 64}
    assert "is for weights sha256:0000" in refusal(tmp_path, teacher, teacher=given).message


def test_digest_of_the_weights_is_accepted(tmp_path, teacher):
    from auditor.models.specifier import identify

    found = identify(f"local:{teacher}").digest
    recipe = logits_run(tmp_path, teacher)
    given = {"spec": f"local:{teacher}", "digest": found}
    write_permission(tmp_path / "permission.json", "", teacher=given)
    permission = read_permission(recipe)
    check_digest(permission, found)
    with pytest.raises(PermissionRefusedError):
        check_digest(permission, "sha256:" + "1" * 64)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"approver": " "}, "without: approver"),
        ({"licence": {"id": "", "text_sha256": "ab"}}, "without: licence.id"),
        ({"clauses": []}, "without: a quoted clause"),
        ({"verdict": "permit-with-duties"}, "without a duty"),
        (
            {"licence": {"id": "X", "text_sha256": "ab", "text_file": "permission.json"}},
            "is not the one with digest",
        ),
    ],
)
def test_yes_without_its_evidence_is_unknown(tmp_path, nowhere, changes, reason):
    assert reason in refusal(tmp_path, nowhere, **changes).message


def test_duties_make_the_verdict_permit_with_duties(tmp_path, nowhere):
    recipe = logits_run(tmp_path, nowhere)
    write_permission(tmp_path / "permission.json", f"local:{nowhere}", duties=["Name it."])
    assert read_permission(recipe).verdict == "permit-with-duties"


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "not JSON"), ("{}", "schema"), (json.dumps({**template("x"), "extra": 1}), "extra")],
)
def test_malformed_permission_is_refused(tmp_path, nowhere, content, words):
    recipe = logits_run(tmp_path, nowhere)
    (tmp_path / "permission.json").write_text(content)
    with pytest.raises(PermissionRefusedError, match=words):
        require_permission(recipe)


def test_template_as_it_stands_permits_nothing(tmp_path, nowhere):
    recipe = logits_run(tmp_path, nowhere)
    (tmp_path / "permission.json").unlink()
    write_template(tmp_path / "permission.json", f"local:{nowhere}")
    with pytest.raises(PermissionRefusedError, match="verdict unknown"):
        require_permission(recipe)
    with pytest.raises(InputError, match="exists"):
        write_template(tmp_path / "permission.json", "smollm2")


def test_command_prints_the_template():
    command = [sys.executable, "-m", "auditor.distill.permission", "smollm2"]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    assert json.loads(printed) == template("smollm2")


def test_an_unknown_verdict_goes_on_for_a_reason_that_is_on_record(tmp_path):
    teacher = make_teacher(tmp_path / "teacher")
    values = logits_recipe(tmp_path, teacher)
    write_permission(tmp_path / "permission.json", f"local:{teacher}", verdict="unknown")
    recipe = recipe_from(values, tmp_path)
    with pytest.raises(PermissionRefusedError, match="accepted for a reason"):
        distill(recipe, tmp_path / "run", accept_unknown=" ")
    lineage = distill(recipe, tmp_path / "run", accept_unknown="counsel asked, ticket 12")
    assert lineage["permission"]["override"] == "counsel asked, ticket 12"
    assert lineage["permission"]["verdict"] == "unknown"
    recorded = FinishedRun(tmp_path / "run").bodies("permission")
    assert [body["override"] for body in recorded] == ["counsel asked, ticket 12"]


def test_a_deny_is_never_overridden(tmp_path):
    teacher = make_teacher(tmp_path / "teacher")
    values = logits_recipe(tmp_path, teacher)
    write_permission(tmp_path / "permission.json", f"local:{teacher}", verdict="deny")
    with pytest.raises(PermissionRefusedError, match="verdict deny"):
        distill(recipe_from(values, tmp_path), tmp_path / "run", accept_unknown="I want to")
    assert not (tmp_path / "run").exists()
