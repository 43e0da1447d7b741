import json

import pytest
from fusion_world import score_rows

from auditor.judge.bootstrap import Draws
from auditor.judge.fuse import FEATURES, FusionRecipe
from auditor.judge.fusion_fit import fit_fusion
from auditor.judge.scores import PAIRS
from auditor.judge.validity import validity

SAMPLE = FusionRecipe(features=FEATURES[2:], draws=Draws(seed=0, resamples=3))


@pytest.fixture(scope="module")
def found():
    return validity(fit_fusion(score_rows(), SAMPLE), Draws(seed=1, resamples=60))


def test_everything_that_is_reported_is_there_and_finite(found):
    json.dumps(found, allow_nan=False)
    assert list(found["pairs"]) == list(PAIRS)
    for numbers in found["pairs"].values():
        low, high = numbers["cllr_interval"]
        assert low <= numbers["cllr"] <= high
        assert numbers["cllr"] == pytest.approx(numbers["cllr_min"] + numbers["cllr_cal"])
        assert numbers["auc_interval"][0] <= numbers["auc"] <= numbers["auc_interval"][1]
        assert numbers["tpr_interval"][0] <= numbers["tpr"] <= numbers["tpr_interval"][1]
        assert [rates["lr"] for rates in numbers["misleading"]] == [1.0, 10.0, 100.0]
    assert 0 < found["multiclass"] < 1


def test_rates_count_the_families_of_their_own_class(found):
    numbers = found["pairs"]["imitation:independent"]
    assert numbers["families"] == [20, 24]
    assert numbers["misleading"][0]["false_support"]["families"] == 24
    assert numbers["misleading"][0]["missed"]["families"] == 20


def test_ratios_are_the_bounded_ones_a_case_is_told(found):
    numbers = found["pairs"]["imitation:independent"]
    lower, upper = numbers["bounds"]
    points = numbers["curves"]["pav"]["log10_lr"]
    assert lower <= points[0] <= points[-1] <= upper


def test_infinite_pav_points_are_null(found):
    pav = found["pairs"]["replication:independent"]["curves"]["pav"]["pav"]
    assert pav[-1] is None
