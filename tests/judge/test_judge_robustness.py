"""One thing left out at a time, by hand."""

import math

import pytest
from details_world import PAIR, calibration, subjects

from auditor.judge.robustness import Examined, robustness_json

FAMILIES = {"a1": "a", "a2": "a", "b": "b", "c": "c", "d": "d"}
VALUES = [0.0, 0.1, 1.0, 2.0, 3.0]


def examined(**changes) -> Examined:
    sample = {"value": 10.0, "control_values": VALUES, "closer": "higher"}
    facts = {
        "suspect": "suspect",
        "subjects": subjects(FAMILIES),
        "rows": {"sample-llr": sample},
        "without": {},
        "scores": {"sample": 3.0, "idiosyncrasy": 1.0},
        "calibration": calibration(),
    }
    return Examined(**{**facts, **changes})


def by_kind(found, kind):
    return {row["dropped"]: row for row in found["rows"] if row["kind"] == kind}


def test_without_one_line_the_fusion_of_the_others_is_asked():
    # Left: idiosyncrasy alone says nothing (cap 0); sample alone 0.5 * 3 = 1.5, capped at 1.
    rows = by_kind(robustness_json(examined()), "group")
    assert rows["sample"]["log10_lr"] == {PAIR: 0.0}
    assert rows["idiosyncrasy"]["log10_lr"] == {PAIR: 1.0}


def test_without_one_family_the_place_is_taken_among_the_rest():
    rows = by_kind(robustness_json(examined()), "control-family")
    assert sorted(rows) == ["a", "b", "c", "d"]
    # Without family a (both members): 1, 2, 3 have mean 2 and standard deviation 1.
    place = rows["a"]["tests"]["sample-llr"]
    assert place["z"] == pytest.approx(8.0)
    assert place["rank_p"] == pytest.approx(1 / 4)
    # The ratio follows: 0.2 * 8 + 0.2 * 1 = 1.8, over the cap of 1.5.
    assert rows["a"]["log10_lr"][PAIR] == pytest.approx(1.5)
    # Without d: 0.1 (the closest of a), 1, 2: mean 31/30, standard deviation sqrt(0.9033...).
    spread = math.sqrt(sum((v - 31 / 30) ** 2 for v in (0.1, 1.0, 2.0)) / 2)
    assert rows["d"]["tests"]["sample-llr"]["z"] == pytest.approx((10 - 31 / 30) / spread)


def test_without_one_category_all_values_are_those_of_the_other_probes():
    values = dict(zip(("suspect", *FAMILIES), (4.0, 0.0, 0.0, 1.0, 2.0, 3.0), strict=True))
    without = {"sample-llr": {"poem": values, "news": {**values, "suspect": None}}}
    rows = by_kind(robustness_json(examined(without=without)), "category")
    # Families 0, 1, 2, 3: mean 1.5, standard deviation sqrt(5/3). News has no value: no row.
    assert list(rows) == ["poem"]
    z = (4.0 - 1.5) / math.sqrt(5 / 3)
    assert rows["poem"]["tests"]["sample-llr"]["z"] == pytest.approx(z)
    assert rows["poem"]["log10_lr"][PAIR] == pytest.approx(0.2 * z + 0.2)


def test_extremes_over_the_families_of_the_fusion():
    # Without one: 0.1 * 3 + 0.2 = 0.5; without two: 0.9 + 0.2 = 1.1; without three: 0.8.
    found = robustness_json(examined())["calibration"]
    assert found["families"] == 3
    assert found["pairs"][PAIR]["lowest"] == pytest.approx(0.5)
    assert found["pairs"][PAIR]["without_lowest"] == "one"
    assert found["pairs"][PAIR]["highest"] == pytest.approx(1.1)
    assert found["pairs"][PAIR]["without_highest"] == "two"


def test_without_a_calibration_the_tests_remain():
    found = robustness_json(examined(calibration=None))
    assert found["calibration"] is None
    assert found["base"]["log10_lr"] is None
    assert by_kind(found, "group") == {}
    assert by_kind(found, "control-family")["a"]["log10_lr"] is None


def test_too_few_families_left_give_no_z_and_no_ratio():
    few = subjects({"a": "a", "b": "b", "c": "c"})
    row = {"value": 9.0, "control_values": [0.0, 1.0, 2.0], "closer": "higher"}
    found = robustness_json(examined(subjects=few, rows={"sample-llr": row}))
    for dropped in by_kind(found, "control-family").values():
        assert dropped["tests"]["sample-llr"]["z"] is None
        assert dropped["log10_lr"] is None


def test_controls_with_a_link_are_never_left_out():
    linked = subjects(FAMILIES)
    linked.controls[4]["role"] = "imitation"
    found = robustness_json(examined(subjects=linked))
    assert sorted(by_kind(found, "control-family")) == ["a", "b", "c"]
