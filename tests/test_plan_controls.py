"""Which controls a plan takes and which it refuses, and what it fixes beforehand."""

import shutil

import pytest

from auditor.data import data_dir
from auditor.errors import InputError
from auditor.judge.findings import Thresholds
from auditor.models.tiny import pack_controls, packs, tiny_models
from auditor.plan import AuditRequest, ControlSpec, plan_audit


def request(*controls: ControlSpec, suspect: str = "tiny:independent") -> AuditRequest:
    return AuditRequest(
        command="compare",
        reference="tiny:teacher",
        suspects=(suspect,),
        controls=controls,
        probes=4,
    )


def test_a_control_that_is_the_reference_is_refused_by_its_weights(tmp_path):
    # The same bytes under another name: the specifier does not give it away.
    copy = tmp_path / "renamed"
    shutil.copytree(data_dir("probes") / "packs" / "tiny" / "teacher", copy)
    with pytest.raises(InputError, match=r"is the reference tiny:teacher itself"):
        plan_audit(request(ControlSpec(spec=str(copy))))


def test_a_control_that_is_the_suspect_is_refused():
    with pytest.raises(InputError, match="is the suspect tiny:independent itself"):
        plan_audit(request(ControlSpec(spec="tiny:independent")))


def test_a_family_with_and_without_a_link_is_refused():
    controls = (
        ControlSpec(spec="tiny:sibling", role="independent", family="f"),
        ControlSpec(spec="tiny:zoo/same-data-00", role="imitation", family="f"),
    )
    with pytest.raises(InputError, match="family 'f' holds controls with and without a link"):
        plan_audit(request(*controls))


def test_the_rules_are_part_of_the_plan():
    assert plan_audit(request())["rules"] == Thresholds().as_json()


def test_a_pack_stands_for_all_its_controls():
    plan = plan_audit(request(ControlSpec(spec="pack:zoo")))
    controls = [s for s in plan["subjects"] if s["role"] not in ("reference", "suspect")]
    assert [c["spec"] for c in controls] == [c.spec for c in pack_controls("zoo")]
    assert len({c["family"] for c in controls if c["role"] == "independent"}) >= 19


def test_a_pack_leaves_out_the_models_that_are_examined():
    plan = plan_audit(request(ControlSpec(spec="pack:zoo"), suspect="tiny:zoo/same-data-00"))
    controls = [s["spec"] for s in plan["subjects"] if s["role"] not in ("reference", "suspect")]
    assert "tiny:zoo/same-data-00" not in controls
    assert len(controls) == len(pack_controls("zoo")) - 1


def test_an_unknown_pack_names_those_there_are():
    with pytest.raises(InputError) as caught:
        plan_audit(request(ControlSpec(spec="pack:nothing")))
    assert "pack:zoo" in str(caught.value.hint)


def test_models_of_a_pack_go_by_its_name():
    assert packs() == ("zoo",)
    names = tiny_models()
    assert "teacher" in names
    assert "zoo/reference-00" in names
