"""A collected case holds the re-derivation and the mixture of each subject, or why not."""

import pytest
from collect_world import collected, plan_of, save_model

from auditor.controls.transforms import merge, permute, quantise
from auditor.controls.transforms_merging import Merge
from auditor.measures._run import measure_pair
from auditor.pairing import load_pair
from auditor.panel import MIXTURE, REDERIVATION
from auditor.stored import read_array

NAMES = ("rederived-share", "merge-share")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tensors")
    found = {
        "reference": save_model(root / "reference", 0),
        "other": save_model(root / "other", 1),
        "base": save_model(root / "base", 2),
        "wide": save_model(root / "wide", 3, width=48),
    }
    how = Merge(weights=(0.7, 0.3))
    soup = merge(str(found["reference"]), root / "soup", others=[str(found["other"])], how=how)
    found["soup"] = soup
    found["moved"] = permute(str(soup), root / "moved", parts="all", seed=1)
    found["turned"] = permute(str(found["reference"]), root / "turned", parts="full", seed=2)
    found["coarse"] = quantise(str(found["reference"]), root / "coarse", bits=4)
    return found


ROLES = {"other": "independent", "base": "base", "coarse": "replication"}


def plan_with(folders, *names, **changes):
    plan = plan_of(
        {name: folders[name] for name in ("reference", *names)},
        suites=("continuations",), probes=2, repeats=1, **changes,
    )  # fmt: skip
    for subject in plan["subjects"]:
        subject["role"] = ROLES.get(subject["name"], subject["role"])
    return plan


@pytest.fixture(scope="module")
def plan(folders):
    return plan_with(folders, "soup", "moved", "wide", "other", "base", "coarse", "turned")


@pytest.fixture(scope="module")
def case(plan, tmp_path_factory):
    return collected(tmp_path_factory.mktemp("case") / "case", plan)


def found(case, suspect):
    """Return {measure: Measurement} of the two measures of tensors."""
    pair = load_pair(case, "reference", suspect)
    return {
        one.measure.partition("@")[0]: one
        for one in measure_pair(pair, seed=0, resamples=100, names=NAMES)
    }


def test_a_merge_with_a_control_is_rederived_and_decomposed(case):
    rows = read_array(case, "rederivation", "soup")
    assert rows.dtype == REDERIVATION
    best = max(rows, key=lambda row: row["elements_equal"])
    assert (best["transform"], best["partner"]) == ("merged", 4)  # `other`, in the plan's order
    soup = found(case, "soup")
    assert soup["rederived-share"].value == 1.0
    assert soup["merge-share"].value == pytest.approx(0.7, abs=1e-6)
    assert soup["merge-share"].interval == pytest.approx((0.7, 0.7), abs=1e-4)
    assert read_array(case, "merge", "soup").dtype == MIXTURE
    pair = load_pair(case, "reference", "soup")
    # The suspect's relatives are no parents, nor is a replica of the reference.
    assert set(pair.parents) == {"reference", "other", "base"}


def test_a_permuted_merge_is_rederived_after_alignment(case):
    rows = read_array(case, "rederivation", "moved")
    best = max(rows, key=lambda row: row["elements_equal"])
    assert best["transform"] == "permuted+merged"
    moved = found(case, "moved")
    assert moved["rederived-share"].value == 1.0
    assert moved["merge-share"].value == pytest.approx(0.7, abs=1e-6)


def test_a_rotated_copy_is_rederived_and_is_no_merge(case):
    rows = read_array(case, "rederivation", "turned")
    assert max(rows, key=lambda row: row["elements_equal"])["transform"] == "rotated+copy"
    turned = found(case, "turned")
    assert turned["rederived-share"].value > 0.8
    assert turned["merge-share"].undefined


def test_controls_are_measured_as_suspects_are(case):
    other, coarse = found(case, "other"), found(case, "coarse")
    assert other["rederived-share"].value == 0.0
    assert "fit its own" in other["merge-share"].undefined
    assert coarse["rederived-share"].value == 1.0
    assert coarse["merge-share"].value == pytest.approx(1.0, abs=0.01)


def test_another_width_is_a_named_reason(case):
    wide = found(case, "wide")
    for one in wide.values():
        assert "embed_tokens.weight is 259 x 48 in the suspect, 259 x 32 in the reference" in (
            one.undefined
        )


def test_the_same_files_give_the_same_numbers(folders, tmp_path, case):
    again = collected(tmp_path / "again", plan_with(folders, "moved", "base", "other"))
    for kind, columns in (
        ("rederivation", ["transform", "elements_equal"]),
        ("merge", ["layer", "block"]),
    ):
        one, two = (read_array(where, kind, "moved") for where in (case, again))
        assert one[columns].tolist() == two[columns].tolist()
    one, two = (found(where, "moved")["merge-share"] for where in (case, again))
    assert one.value == pytest.approx(two.value, abs=1e-12)


def test_a_subject_whose_weights_may_not_be_read_says_so(folders, tmp_path):
    closed = collected(tmp_path / "closed", plan_with(folders, "soup", "other", access="LOGITS"))
    for one in found(closed, "soup").values():
        assert "LOGITS access only, WEIGHTS is needed" in one.undefined
    alone = collected(tmp_path / "alone", plan_with(folders, "coarse"))
    assert "no control has the shapes" in found(alone, "coarse")["merge-share"].undefined
