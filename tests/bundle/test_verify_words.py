"""V13 on a case with likelihood ratios: none goes beyond what its control families support."""

import json
import math

import pytest
from calibrated_world import calibrated_case
from verify_world import copied, edit_json, failed, resealed

from auditor.bundle.check import Check, guarded
from auditor.bundle.check_words import check_words
from auditor.case import Case
from auditor.judge.bounds import largest_lr
from auditor.judge.calibration import calibration_from_json
from auditor.judge.conclusions import conclusions
from auditor.report.render import write_reports
from auditor.sealing import seal_case

REPLICA, OTHER = "replica", "same-data-03"
PAIR = "imitation:independent"


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Return the root of a sealed case that was judged with the shipped pack."""
    folder = tmp_path_factory.mktemp("calibrated")
    return seal_case(calibrated_case(folder), folder / "case.evidence").root


def v13(root) -> Check:
    return guarded("V13", lambda: check_words(Case(root)))


def stated(root, name) -> dict:
    return json.loads((root / "data/conclusion.json").read_bytes())["suspects"][name]


def test_the_untouched_case_states_ratios_and_passes(calibrated):
    assert stated(calibrated, REPLICA)["log10_lr"][PAIR] > 1
    assert stated(calibrated, OTHER)["log10_lr"][PAIR] < 0
    assert "support" in stated(calibrated, REPLICA)["verbal"]
    assert failed(calibrated) == set()


def _one(name, change):
    return lambda root: edit_json(root, "conclusion.json", lambda c: change(c["suspects"][name]))


def _raised(one):
    one["log10_lr"][PAIR] = 2.5
    one["interval"] = [2.0, 2.6]


def _stronger(one):
    one["verbal"] = one["verbal"].replace("moderate support", "strong support")
    assert "strong support" in one["verbal"]


def _lower_limit(one):
    """Widen the interval to "no support", and leave the words."""
    one["interval"] = [0.0, one["interval"][1]]


WORDED = {
    "a ratio above the cap": (_one(REPLICA, _raised), "is beyond the caps of (72, 89) families"),
    "a phrase of another category": (_one(REPLICA, _stronger), "replica: verbal is not what"),
    "words above the lower limit": (_one(REPLICA, _lower_limit), "replica: interval is not what"),
    "a ratio outside its interval": (
        _one(OTHER, lambda one: one.update(interval=[1.0, 1.1])),
        "no likelihood ratio lies in the stated interval",
    ),
    "a ratio of the other side": (
        _one(OTHER, lambda one: one["log10_lr"].update({PAIR: 0.5})),
        "same-data-03: log10_lr is not what",
    ),
    "a ratio left out": (
        _one(OTHER, lambda one: one.update(log10_lr=None, interval=None, verbal=None)),
        "same-data-03: log10_lr is not what",
    ),
    "a limit left out": (
        _one(REPLICA, lambda one: one["limits"].pop()),
        "replica: limits is not what",
    ),
    "another power": (
        _one(REPLICA, lambda one: one.update(power=None, dose=None)),
        "replica: power is not what",
    ),
    "the calibration left out": (
        lambda root: (root / "data/calibration.json").unlink(),
        "rest on a calibration that the case lacks",
    ),
    "too few families": (
        lambda root: edit_json(
            root, "calibration.json", lambda c: [_families(9)(one) for one in c["fusions"]]
        ),
        "insufficient controls",
    ),
}


@pytest.mark.parametrize("way", WORDED)
def test_what_the_controls_do_not_allow_is_found(calibrated, tmp_path, way):
    change, words = WORDED[way]
    root = copied(calibrated, tmp_path / "case")
    change(root)
    found = v13(root)
    assert found.outcome == "fail"
    assert any(words in detail for detail in found.details), found.details


def _fusions(change):
    """Change every fusion of the calibration, and judge anew with it, as a deceiver would."""

    def apply(root):
        edit_json(root, "calibration.json", lambda c: [change(one) for one in c["fusions"]])
        case = Case(root)
        found = conclusions(case, (calibration_from_json(case.read_json("calibration.json")),))
        edit_json(root, "conclusion.json", lambda c: c.update(suspects=found.suspects))

    return apply


def _cap(upper):
    return lambda fusion: fusion["bounds"][PAIR].update(upper=upper)


def _families(independent):
    def change(fusion):
        fusion["families"]["independent"] = independent
        for pair, bounds in fusion["bounds"].items():
            if pair.endswith(":independent"):
                bounds["families"][1] = independent

    return change


def _inflated(fusion):
    """Claim ten times the families, and the cap that so many would allow."""
    _families(890)(fusion)
    fusion["bounds"][PAIR]["upper"] = 1.9


RAISED = {
    "a cap raised a little": (_cap(1.7), "none of those that ship"),
    "a cap above what its families can support": (_cap(3.0), "families cannot support"),
    "families inflated": (_inflated, "claims 890 independent families, the table of sample-llr"),
    "families of the bound inflated": (
        lambda fusion: fusion["bounds"][PAIR].update(families=[72, 890]),
        "rests on (72, 890) families",
    ),
}


@pytest.mark.parametrize("way", RAISED)
def test_a_raised_calibration_is_found_though_the_case_was_judged_anew(calibrated, tmp_path, way):
    change, words = RAISED[way]
    root = copied(calibrated, tmp_path / "case")
    _fusions(change)(root)
    found = v13(root)
    assert found.outcome == "fail"
    assert any(words in detail for detail in found.details), found.details


@pytest.mark.parametrize("way", [way for way in RAISED if way != "a cap raised a little"])
def test_a_claimed_other_release_hides_no_raised_cap(calibrated, tmp_path, way):
    change, words = RAISED[way]
    root = copied(calibrated, tmp_path / "case")
    _fusions(change)(root)
    edit_json(root, "evidence.json", lambda c: c["tool"].update(version="0.0.9"))
    found = v13(root)
    assert found.outcome == "fail"
    assert any(words in detail for detail in found.details), found.details


def test_a_calibration_of_another_release_is_noted_and_not_called_false(calibrated, tmp_path):
    root = copied(calibrated, tmp_path / "case")
    _fusions(_cap(1.3))(root)  # lower than that of 89 families, as an earlier pack may have had
    edit_json(root, "evidence.json", lambda c: c["tool"].update(version="0.0.9"))
    found = v13(root)
    assert found.outcome == "pass", found.details
    assert "none of those that ship" in found.details[0]


def test_a_covered_raise_fails_v13_alone_among_what_no_key_is_needed_for(calibrated, tmp_path):
    root = copied(calibrated, tmp_path / "case")
    _fusions(_cap(3.0))(root)
    write_reports(Case(root))
    resealed(root)
    assert failed(root) == {"V13"}


def test_the_largest_cap_is_that_of_perfect_separation():
    # 72 and 89 families: (89 + 1) * 72 / 73 = 88.77, log10 = 1.948.
    assert math.log10(largest_lr(72, 89)) == pytest.approx(1.948, abs=1e-3)
