import math

import numpy as np
import pytest
from scipy.stats import t

from auditor.errors import UndefinedError
from auditor.judge.dose import DosedScore, dose_curve, estimate_dose, monotone


def graded(groups):
    """Return controls from {dose: scores}, each its own family."""
    return [
        DosedScore(dose=dose, score=score, family=f"{dose}-{number}")
        for dose, scores in groups.items()
        for number, score in enumerate(scores)
    ]


# Means 0, 10, 20; standard deviation 1 at each.
LINE = {0.0: [-1, 0, 1], 0.5: [9, 10, 11], 1.0: [19, 20, 21]}


def test_the_curve_holds_means_and_spreads():
    curve = dose_curve(graded(LINE))
    assert curve.doses.tolist() == [0.0, 0.5, 1.0]
    assert curve.means == pytest.approx([0, 10, 20])
    assert curve.spreads == pytest.approx([1, 1, 1])
    assert curve.families.tolist() == [3, 3, 3]


def test_at_a_graded_dose_the_prediction_is_that_of_its_families():
    new = dose_curve(graded(LINE)).at(np.array([0.5, 1.0]))
    assert new.mean == pytest.approx([10, 20])
    # One more of three: sd sqrt(1 + 1/3), 2 degrees of freedom.
    assert new.spread == pytest.approx([math.sqrt(4 / 3)] * 2)
    assert new.freedom.tolist() == [2, 2]


def test_between_graded_doses_mean_and_spread_are_on_a_line():
    curve = dose_curve(graded({0.0: [-1, 0, 1], 0.5: [7, 10, 13, 10]}))
    new = curve.at(np.array([0.2]))
    assert new.mean == pytest.approx([4.0])
    # Spreads 1 and sqrt(6); 3/5 and 2/5 of them, and of the means' errors 1/3 and 6/4.
    spread = 0.6 + 0.4 * math.sqrt(6)
    assert new.spread == pytest.approx([math.sqrt(spread**2 + 0.36 / 3 + 0.16 * 1.5)])
    assert new.freedom.tolist() == [2]


def test_means_that_fall_are_pooled():
    assert monotone(np.array([0.0, 3.0, 1.0, 5.0]), np.array([1, 1, 3, 1])) == pytest.approx(
        [0.0, 1.5, 1.5, 5.0]
    )


def test_a_dose_is_read_off_the_curve():
    found = estimate_dose(5.0, dose_curve(graded(LINE)))
    assert found.dose == pytest.approx(0.25, abs=1e-3)


def test_the_interval_holds_the_doses_that_the_score_does_not_reject():
    # At the graded dose .5 itself the half width in score is t_2 sqrt(4/3) = 4.97.
    curve = dose_curve(graded(LINE))
    half = t.ppf(0.975, 2) * math.sqrt(4 / 3)
    assert estimate_dose(10 + half - 0.1, curve).interval[0] <= 0.5
    assert estimate_dose(10 + half + 0.1, curve).interval[0] > 0.5 - 2e-3
    low, high = estimate_dose(10.0, curve).interval
    assert low < 0.3
    assert high > 0.7


def test_a_score_near_the_ends_is_clipped():
    curve = dose_curve(graded(LINE))
    top = estimate_dose(21.0, curve)
    assert (top.dose, top.interval[1]) == (1.0, 1.0)
    bottom = estimate_dose(-1.0, curve)
    assert (bottom.dose, bottom.interval[0]) == (0.0, 0.0)


@pytest.mark.parametrize(("score", "side"), [(60.0, "above"), (-60.0, "below")])
def test_a_score_that_no_dose_explains_has_no_dose(score, side):
    with pytest.raises(UndefinedError, match=f"is {side} what controls of any graded dose"):
        estimate_dose(score, dose_curve(graded(LINE)))


def test_where_nothing_was_graded_the_interval_reaches_to_the_end_and_says_so():
    curve = dose_curve(graded({0.1: [1, 2, 3], 0.5: [9, 10, 11]}))
    found = estimate_dose(10.0, curve)
    assert found.interval[1] == 1.0
    assert any("No control over 50%" in text for text in found.limits)
    assert any("No control under 10%" in text for text in found.limits)
    assert any("interpolated" in text for text in found.limits)


def test_a_flat_stretch_gives_its_middle():
    curve = dose_curve(
        graded({0.0: [-1, 0, 1], 0.4: [9, 10, 11], 0.8: [9, 10, 11], 1.0: [19, 20, 21]})
    )
    assert estimate_dose(10.0, curve).dose == pytest.approx(0.6, abs=1e-3)


def test_a_score_that_ignores_the_dose_cannot_estimate_it():
    curve = dose_curve(graded({0.0: [1, 2, 3], 1.0: [0, 1, 2]}))
    with pytest.raises(UndefinedError, match="does not rise with the dose"):
        estimate_dose(1.5, curve)


def world(random, families):
    """Return controls whose spread grows with the dose, as measured (Appendix B)."""
    return graded(
        {
            dose: random.normal(20 * dose, 1 + 3 * dose, families).tolist()
            for dose in (0.0, 0.1, 0.5, 1.0)
        }
    )


@pytest.mark.parametrize("families", [4, 10])
def test_the_interval_covers_the_true_dose(families):
    random = np.random.RandomState(0)
    covered, widths = [], []
    for _ in range(400):
        curve, dose = dose_curve(world(random, families)), random.uniform()
        score = random.normal(20 * dose, 1 + 3 * dose)
        try:
            low, high = estimate_dose(score, curve).interval
        except UndefinedError:
            covered.append(False)
            continue
        covered.append(low <= dose <= high)
        widths.append(high - low)
    assert np.mean(covered) >= 0.93
    # And it says something.
    assert np.mean(widths) < (0.75 if families == 4 else 0.55)


def test_a_family_counts_once_a_dose():
    twice = [*graded(LINE), DosedScore(dose=0.5, score=13.0, family="0.5-2")]
    # Family 0.5-2 has 11 and 13: its mean 12, the dose's (9 + 10 + 12) / 3.
    curve = dose_curve(twice)
    assert curve.families.tolist() == [3, 3, 3]
    assert curve.means[1] == pytest.approx(31 / 3)


def test_a_dose_with_two_families_is_left_out_and_named():
    curve = dose_curve(graded({**LINE, 0.25: [4, 5]}))
    assert curve.left_out == (0.25,)
    assert 0.25 not in curve.doses
    assert any("25%" in text for text in curve.limits)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "0 graded doses"),
        ({0.5: [1, 2, 3]}, "1 graded doses"),
        ({0.5: [1, 2], 1.0: [2, 3]}, "0 graded doses"),
        ({0.0: [1, 1, 1], 1.0: [1, 2, 3]}, "all controls of dose 0 score 1"),
        ({0.0: [1, 2, 3], 1.2: [1, 2, 3]}, "no control"),
        ({0.0: [1, 2, math.nan], 1.0: [1, 2, 3]}, "no control"),
    ],
)
def test_controls_that_make_no_curve_are_refused(groups, message):
    with pytest.raises(UndefinedError, match=message):
        dose_curve(graded(groups))


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_has_no_dose(score):
    with pytest.raises(UndefinedError, match="has no dose"):
        estimate_dose(score, dose_curve(graded(LINE)))
