import math

import numpy as np
import pytest
from fusion_world import score_rows

from auditor.errors import UndefinedError
from auditor.judge.assess import auc, cllr
from auditor.judge.bootstrap import Draws
from auditor.judge.calibrate import fit_logistic, scored
from auditor.judge.fuse import FEATURES, Feature, FusionRecipe, fuse, select_fusion
from auditor.judge.fusion_fit import fit_fusion
from auditor.judge.scores import PAIRS, ScoreRow

RECIPE = FusionRecipe(draws=Draws(seed=0, resamples=40))
TEXT = FusionRecipe(features=FEATURES[2:], draws=Draws(seed=0, resamples=20))


@pytest.fixture(scope="module")
def fitted():
    return fit_fusion(score_rows(), RECIPE)


def test_each_kind_of_model_is_told_apart(fitted):
    independent = fuse(fitted.fusion, {"replication": 0.4, "span": 0.0, "sample": 0.2})
    student = fuse(fitted.fusion, {"replication": 0.4, "span": 0.0, "sample": 15.0})
    replica = fuse(fitted.fusion, {"replication": 90.0, "span": 30.0, "sample": 40.0})
    assert independent.log10_lr["imitation:independent"] < 0
    assert independent.log10_lr["replication:independent"] < 0
    assert student.log10_lr["imitation:independent"] > 0.5
    assert student.log10_lr["replication:imitation"] < 0
    assert replica.log10_lr["replication:independent"] > 0.5
    assert replica.log10_lr["replication:imitation"] > 0.5
    assert list(replica.log10_lr) == list(PAIRS)


def test_it_does_well_on_families_it_has_not_seen(fitted):
    for pair in PAIRS:
        controls, families = fitted.validation.question(pair, fitted.fusion.bounds[pair])
        assert cllr(controls) < 0.35
        assert auc(controls) > 0.97
        assert len(set(families)) == len(families) == (40 if "independent" not in pair else 44)


def test_a_control_is_validated_by_a_fusion_that_did_not_see_its_family():
    # Two members of one family, left out together: the rest, fitted by itself, gives their ratios.
    rows = score_rows()
    twin = ScoreRow(
        subject="ind00-twin",
        family=rows[0].family,
        proposition="independent",
        scores={"sample": 9.0},
    )
    found = fit_fusion([*rows, twin], TEXT).validation
    alone = fit_fusion([row for row in rows if row.family != twin.family], TEXT).fusion
    controls, families = found.question("imitation:independent")
    mine = [i for i, family in enumerate(families) if family == twin.family]
    expected = [
        fuse(alone, row.scores).pairs["imitation:independent"].unbounded for row in (rows[0], twin)
    ]
    assert controls.values[mine] == pytest.approx(expected, abs=1e-7)


def test_ratios_before_bounding_agree_among_themselves(fitted):
    found = fuse(fitted.fusion, {"replication": 2.0, "span": 3.0, "sample": 4.0}).pairs
    short, long, rest = (found[pair].unbounded for pair in PAIRS)
    assert long == pytest.approx(short + rest)


def test_no_ratio_exceeds_what_the_families_support(fitted):
    extreme = fuse(fitted.fusion, {"replication": 300.0, "span": 60.0, "sample": 100.0})
    result = extreme.pairs["replication:independent"]
    assert result.unbounded > result.log10_lr == result.bounds.upper
    assert result.capped
    # 20 and 24 families: (24 + 1) 20 / 21 = 23.8.
    assert result.bounds.upper <= math.log10(25 * 20 / 21) + 1e-9
    assert result.interval[1] <= result.bounds.upper


def test_the_interval_surrounds_the_value(fitted):
    result = fuse(fitted.fusion, {"replication": 0.3, "span": 1.0, "sample": 3.0}).pairs
    low, high = result["imitation:independent"].interval
    assert low < result["imitation:independent"].log10_lr < high


def test_neuron_matching_says_nothing_between_imitation_and_independence(fitted):
    low, high = (
        fuse(fitted.fusion, {"replication": p, "span": 1.0, "sample": 3.0}).pairs
        for p in (0.0, 5.0)
    )
    pair = "imitation:independent"
    assert low[pair].unbounded == pytest.approx(high[pair].unbounded, abs=1e-9)
    assert low["replication:independent"].unbounded < high["replication:independent"].unbounded


def test_a_chance_correlation_cannot_turn_theory_around():
    # Sample scores that fall with the link, against the demand: they say nothing then.
    worlds = {"independent": 9.0, "imitation": 3.0, "replication": 1.0}
    rows = score_rows(sample=lambda proposition, number: worlds[proposition] + 0.1 * number)
    fusion = fit_fusion(rows, TEXT).fusion
    for score in (-5.0, 20.0):
        found = fuse(fusion, {"sample": score}).pairs
        assert found["imitation:independent"].unbounded == pytest.approx(0, abs=1e-9)
        assert found["replication:independent"].unbounded == pytest.approx(0, abs=1e-9)


def test_prior_odds_are_removed():
    # One score, one class ten times the other: at the balanced middle the ratio is 1.
    def draw(proposition, number):
        return (2.0 if proposition == "imitation" else 0.0) + (number % 10 - 4.5) / 3

    feature = Feature(name="sample")
    recipe = FusionRecipe(features=(feature,), draws=Draws(seed=0, resamples=5))
    rows = score_rows(sizes={"independent": 100, "imitation": 10}, sample=draw)
    fusion = fit_fusion(rows, recipe).fusion
    assert fuse(fusion, {"sample": 1.0}).pairs["imitation:independent"].unbounded == (
        pytest.approx(0, abs=1e-6)
    )


def test_one_score_and_two_classes_are_the_binary_calibration():
    rows = score_rows(sizes={"independent": 30, "imitation": 12})
    feature = Feature(name="sample")
    recipe = FusionRecipe(features=(feature,), draws=Draws(seed=0, resamples=3))
    fusion = fit_fusion(rows, recipe).fusion
    values = np.array([row.scores["sample"] for row in rows])
    # The penalty of two classes is half that of one slope: see the regression's tests.
    binary = fit_logistic(
        scored(values, [row.proposition == "imitation" for row in rows]), strength=2.0
    )
    for score in (-1.0, 4.0, 9.0):
        found = fuse(fusion, {"sample": score}).pairs["imitation:independent"].unbounded
        assert found == pytest.approx(binary.log10_lr(np.array([score]))[0], abs=1e-5)


def test_a_missing_score_is_refused_and_not_taken_as_zero(fitted):
    for scores in ({"replication": 1.0, "span": None, "sample": 1.0}, {"sample": 1.0}):
        with pytest.raises(UndefinedError, match="is missing"):
            fuse(fitted.fusion, scores)


def test_each_access_pattern_has_its_own_fusion(fitted):
    text = fit_fusion(score_rows(), TEXT).fusion
    fusions = [text, fitted.fusion]
    everything = {"replication": 1.0, "span": 1.0, "sample": 1.0, "shared-error": 2.0}
    assert select_fusion(fusions, everything) is fitted.fusion
    assert fuse(fitted.fusion, everything).unused == ("shared-error",)
    assert select_fusion(fusions, {"sample": 1.0, "span": None}) is text
    with pytest.raises(UndefinedError, match="no fusion was validated for the scores"):
        select_fusion(fusions, {"span": 1.0})


def test_text_alone_leaves_replication_and_imitation_closer_together(fitted):
    text = fit_fusion(score_rows(), TEXT)
    pair = "replication:imitation"
    assert cllr(text.validation.question(pair)[0]) > cllr(fitted.validation.question(pair)[0])


def test_controls_without_a_score_are_left_out_of_its_fit():
    rows = score_rows()
    holed = [
        ScoreRow(
            subject=row.subject,
            family=row.family,
            proposition=row.proposition,
            scores={**row.scores, "span": None if index % 3 == 0 else row.scores["span"]},
        )
        for index, row in enumerate(rows)
    ]
    recipe = FusionRecipe(features=FEATURES[1:], draws=Draws(seed=0, resamples=3))
    assert fit_fusion(holed, recipe).fusion.families["independent"] == 16


def test_a_proposition_with_few_families_has_its_ratios_refused():
    found = fit_fusion(
        score_rows(sizes={"independent": 20, "imitation": 15, "replication": 9}), TEXT
    )
    assert found.fusion.classes == ("independent", "imitation")
    result = fuse(found.fusion, {"sample": 8.0})
    assert list(result.pairs) == ["imitation:independent"]
    assert set(result.refused) == {"replication:independent", "replication:imitation"}
    assert "9 replication families" in result.refused["replication:imitation"]
    with pytest.raises(UndefinedError, match="was not fitted"):
        found.validation.question("replication:imitation")


def test_one_proposition_alone_has_no_fusion():
    with pytest.raises(UndefinedError, match=r"insufficient controls.*15 independent") as error:
        fit_fusion(score_rows(sizes={"independent": 15, "imitation": 9}), TEXT)
    assert "rank" in error.value.hint


def test_a_score_outside_all_controls_is_said_to_be(fitted):
    found = fuse(fitted.fusion, {"replication": 1.0, "span": 500.0, "sample": -90.0})
    assert found.extrapolated == ("span", "sample")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_a_score_outside_its_range_is_refused(fitted, bad):
    with pytest.raises(UndefinedError, match="'replication' is"):
        fuse(fitted.fusion, {"replication": bad, "span": 1.0, "sample": 1.0})


def test_a_score_that_does_not_vary_is_refused_by_name():
    with pytest.raises(UndefinedError, match=r"^sample: all controls have the same score"):
        fit_fusion(score_rows(sample=lambda *_: 3.0), TEXT)


def test_a_fit_repeats_to_the_last_bit_in_any_order_of_rows():
    one = fit_fusion(score_rows(), TEXT).fusion
    other = fit_fusion(score_rows()[::-1], TEXT).fusion
    assert one.coefficients.slopes.tobytes() == other.coefficients.slopes.tobytes()
    assert one.digest == other.digest
