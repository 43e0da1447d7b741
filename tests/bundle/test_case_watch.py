"""An audit that is asked to makes a baseline in its case, which is sealed, verified and watched."""

import dataclasses
import json
from pathlib import Path

import pytest
from redact_world import redacted
from seal_world import REQUEST, copy_of, files_of
from small_plan import write_plan
from verify_world import copied, edit_json, failed, resealed

from auditor.audit import audit
from auditor.bundle.completeness import check_complete
from auditor.bundle.evidence import FILE as INDEX
from auditor.bundle.verify import verify
from auditor.case import Case
from auditor.cli.main import run
from auditor.errors import CaseError, InputError
from auditor.plan import AuditRequest, Watched, plan_audit
from auditor.sealing import seal_case
from auditor.types import Access
from auditor.watched import FILE

WANTED = dataclasses.replace(
    REQUEST, watch=Watched(role="suspect", candidates=60), access=Access.WEIGHTS
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Case:
    return audit(WANTED, tmp_path_factory.mktemp("watched") / "case")


@pytest.fixture(scope="module")
def sealed(finished: Case, tmp_path_factory) -> Path:
    return seal_case(finished, tmp_path_factory.mktemp("watched-seal") / "case.evidence").root


def test_a_case_holds_the_baseline_that_was_planned_of_the_model_that_was_planned(finished):
    plan, baseline = finished.read_json("plan.json"), finished.read_json(FILE)
    (suspect,) = (one for one in plan["subjects"] if one["role"] == "suspect")
    assert plan["watch"] == {"role": "suspect", "candidates": 60}
    assert (baseline["spec"], baseline["digest"]) == (suspect["spec"], suspect["digest"])
    assert len(baseline["cells"]) >= 4
    assert "created" not in baseline


def test_a_repeat_finds_the_baseline_and_the_same_plan_gives_the_same_bytes(finished, tmp_path):
    before = (finished.data / FILE).stat().st_mtime_ns
    audit(WANTED, finished.root)
    assert (finished.data / FILE).stat().st_mtime_ns == before
    again = copy_of(finished, tmp_path / "again")
    (again.data / FILE).unlink()
    audit(WANTED, again.root)
    assert (again.data / FILE).read_bytes() == (finished.data / FILE).read_bytes()


def test_the_sealed_case_verifies_replays_and_is_watched(sealed, capsys):
    found = verify(sealed, replay=True)
    assert [check.id for check in found.checks if check.outcome == "fail"] == []
    assert json.loads((sealed / "data" / INDEX).read_bytes())["files"][FILE]["role"] == "watch"
    words = ["--baseline", str(sealed), "--seed", "3", "--json"]
    assert run(["watch", "tiny:independent", *words, "--queries", "30"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "no change seen"
    assert run(["watch", "tiny:teacher", *words]) == 3
    assert json.loads(capsys.readouterr().out)["outcome"] == "changed"


def test_a_baseline_that_was_planned_may_not_be_missing(sealed, finished, tmp_path):
    root = copied(sealed, tmp_path / "case.evidence")
    (root / "data" / FILE).unlink()
    resealed(root)
    assert "V08" in failed(root)
    lacking = copy_of(finished, tmp_path / "lacking")
    (lacking.data / FILE).unlink()
    with pytest.raises(CaseError, match=f"{FILE} is missing"):
        check_complete(lacking)


def test_a_baseline_that_was_not_planned_is_found(sealed, tmp_path):
    root = copied(sealed, tmp_path / "case.evidence")
    edit_json(root, "plan.json", lambda plan: plan.pop("watch"))
    resealed(root)
    (check,) = (one for one in verify(root).checks if one.id == "V08")
    assert f"data/{FILE} was not planned" in check.details


@pytest.mark.parametrize(
    ("key", "value", "check"),
    [
        ("digest", "sha256:" + "0" * 64, "V09"),
        ("spec", "tiny:teacher", "V09"),
        ("schema", "auditor/watch-baseline/1", "V02"),
        ("temperature", -1.0, "V02"),
    ],
)
def test_a_baseline_of_another_model_or_form_is_found(sealed, tmp_path, key, value, check):
    root = copied(sealed, tmp_path / "case.evidence")
    edit_json(root, FILE, lambda baseline: baseline.update({key: value}))
    resealed(root)
    assert check in failed(root)


@pytest.mark.parametrize(("subject", "there"), [("independent", False), ("teacher", True)])
def test_a_redaction_withholds_the_baseline_of_whose_replies_it_withholds(
    sealed, tmp_path, subject, there
):
    copy = redacted(sealed, tmp_path / "copy", f"subject:{subject}")
    assert (copy / "data" / FILE).is_file() is there
    assert failed(copy) == set()


def test_a_withheld_baseline_of_shown_replies_is_found(sealed, tmp_path):
    copy = redacted(sealed, tmp_path / "copy", "subject:teacher")
    old = json.loads((sealed / "data" / INDEX).read_bytes())["files"][FILE]
    entry = {"reason": "because", "sha256": old["sha256"], "bytes": old["bytes"]}
    (copy / "data" / FILE).unlink()
    edit_json(copy, "redaction.json", lambda stated: stated["files"].update({FILE: entry}))
    edit_json(copy, INDEX, lambda index: index["files"].pop(FILE))
    (check,) = (one for one in verify(copy).checks if one.id == "V08")
    assert f"data/{FILE} is withheld, and tells of no withheld reply" in check.details


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"watch": Watched(role="independent")}, "a watch baseline of 'independent'"),
        ({"suspects": ("tiny:independent", "tiny:sibling"), "controls": ()}, "which is 2 models"),
        ({"access": Access.LOGITS}, "not to be used"),
    ],
)
def test_a_baseline_that_an_audit_cannot_make_is_refused_before_any_work(change, said):
    with pytest.raises(InputError, match=said):
        plan_audit(dataclasses.replace(WANTED, **change))


def test_the_baseline_of_a_server_is_not_made_by_an_audit():
    served = AuditRequest(
        command="compare",
        reference="tiny:teacher",
        suspects=("openai:m?base_url=http://127.0.0.1:9/v1",),
        suites=("ood",),
        probes=2,
        watch=Watched(role="suspect"),
        encoder=None,
    )
    with pytest.raises(InputError, match="not at hand") as caught:
        plan_audit(served)
    assert "--enrol" in (caught.value.hint or "")


def test_a_model_that_changed_since_the_plan_is_named(finished, tmp_path):
    other = copy_of(finished, tmp_path / "other")
    (other.data / FILE).unlink()
    plan = other.read_json("plan.json")
    (suspect,) = (one for one in plan["subjects"] if one["role"] == "suspect")
    suspect["digest"] = "sha256:" + "0" * 64
    other.write_json("plan.json", plan)
    from auditor.case_watch import enrol_watched
    from auditor.progress import Silent

    with pytest.raises(CaseError, match="not the model that was planned"):
        enrol_watched(other, Silent())
    assert not (other.data / FILE).exists()


def test_a_declared_plan_names_it_and_the_case_is_as_declared(tmp_path, capsys):
    path = write_plan(tmp_path, watch={"role": "reference", "candidates": 60})
    assert run(["plan", "lock", str(path)]) == 0
    assert run(["audit", str(path), "--out", str(tmp_path / "case")]) == 0
    case = Case(tmp_path / "case")
    assert case.read_json(FILE)["spec"] == "tiny:teacher"
    root = seal_case(case, tmp_path / "case.evidence").root
    assert failed(root) == set()
    before = files_of(root)
    edit_json(root, "plan.json", lambda plan: plan["watch"].update(role="suspect"))
    assert files_of(root) != before
    resealed(root)
    (check,) = (one for one in verify(root).checks if one.id == "V09")
    assert any("watch is not what the declared plan asks for" in line for line in check.details)
