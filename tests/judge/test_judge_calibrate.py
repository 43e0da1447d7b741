import math

import numpy as np
import pytest
from scipy.special import expit

from auditor.errors import UndefinedError
from auditor.judge.calibrate import (
    family_weights,
    fit_kernel,
    fit_logistic,
    pav_log10_lr,
    scored,
    standardisation,
)

RANDOM = np.random.RandomState(0)
FIRST = RANDOM.normal(2, 1, 60)
SECOND = RANDOM.normal(0, 1, 90)


def two_classes(first=FIRST, second=SECOND, families=None):
    values = np.concatenate([first, second])
    return scored(values, [True] * len(first) + [False] * len(second), families)


def test_weights_are_equal_over_classes_families_and_members():
    # 3 families: class 1 holds a (2 members) and b, class 0 holds c: each class 3/2.
    weights = family_weights(np.array([1, 1, 1, 0]), ["a", "a", "b", "c"])
    assert weights.tolist() == [0.375, 0.375, 0.75, 1.5]


def test_the_slope_solves_its_equation():
    # Balanced, standardised: at the optimum the penalty's slope equals that of the likelihood.
    controls = two_classes()
    found = fit_logistic(controls, strength=0.5)
    mean, scale = standardisation(controls.values, controls.weights)
    x = (controls.values - mean) / scale
    chance = expit(found.intercept + found.slope * controls.values)
    error = controls.weights * (chance - controls.first)
    assert error.sum() == pytest.approx(0, abs=1e-6)
    assert (error * x).sum() == pytest.approx(-found.slope * scale / 0.5, abs=1e-6)


def test_many_normal_controls_give_the_true_ratio():
    # N(2, 1) against N(0, 1): ln LR = 2 x - 2.
    random = np.random.RandomState(1)
    found = fit_logistic(two_classes(random.normal(2, 1, 5000), random.normal(0, 1, 5000)))
    assert found.slope == pytest.approx(2, rel=0.06)
    assert found.intercept == pytest.approx(-2, rel=0.06)
    assert found.log10_lr(np.array([1.0]))[0] == pytest.approx(0, abs=0.02)


def test_prior_odds_of_the_sample_are_removed():
    # Ninety-nine unlinked controls for each linked one: the ratio stays what it was.
    random = np.random.RandomState(2)
    uneven = two_classes(random.normal(2, 1, 100), random.normal(0, 1, 9900))
    assert fit_logistic(uneven).log10_lr(np.array([1.0]))[0] == pytest.approx(0, abs=0.2)


def test_the_unit_of_a_score_changes_no_ratio():
    plain = fit_logistic(two_classes())
    nats = fit_logistic(two_classes(FIRST * 1e-3 + 7, SECOND * 1e-3 + 7))
    ask = np.array([-1.0, 0.5, 3.0])
    assert nats.log10_lr(ask * 1e-3 + 7) == pytest.approx(plain.log10_lr(ask), abs=1e-6)


def test_perfect_separation_stays_finite():
    found = fit_logistic(two_classes(np.full(10, 1.0), np.full(10, -1.0)))
    assert 0 < found.log10_lr(np.array([1.0]))[0] < 3


def test_a_score_of_the_wrong_sign_gives_no_evidence():
    reversed_classes = two_classes(SECOND, FIRST)
    assert fit_logistic(reversed_classes).log10_lr(np.array([-5.0, 5.0])).tolist() == [0.0, 0.0]
    assert fit_logistic(reversed_classes, signed=False).slope < 0


def test_members_of_a_family_do_not_outvote_other_families():
    families = [f"a{i}" for i in range(60)] + [f"b{i}" for i in range(90)]
    plain = fit_logistic(two_classes(families=families))
    copied = two_classes(
        np.concatenate([FIRST, np.repeat(FIRST[:1], 500)]),
        families=[*families[:60], *["a0"] * 500, *families[60:]],
    )
    assert fit_logistic(copied).slope == pytest.approx(plain.slope, rel=1e-6)


def test_kernel_ratio_by_hand():
    # Two scores a class, sd 1, bandwidth (4 / 6)^(1/5) = w: at 0 the distances are 1 and 5 for one,
    # -3 and 1 for the other class.
    found = fit_kernel(two_classes(np.array([1.0, 3.0]), np.array([-3.0, -1.0])))
    width = (4 / 6) ** 0.2
    assert found.bandwidths == pytest.approx((width, width))
    assert found.log10_lr(np.array([0.0]))[0] == pytest.approx(0, abs=1e-12)
    one = math.exp(-0.5 / width**2) + math.exp(-0.5 * (1 / width) ** 2)
    other = math.exp(-0.5 * (5 / width) ** 2) + math.exp(-0.5 * (3 / width) ** 2)
    assert found.log10_lr(np.array([2.0]))[0] == pytest.approx(math.log10(one / other))


def test_kernels_agree_with_the_logistic_ratio_where_controls_are():
    random = np.random.RandomState(3)
    controls = two_classes(random.normal(2, 1, 4000), random.normal(0, 1, 4000))
    ask = np.linspace(0, 2, 5)
    off = fit_kernel(controls).log10_lr(ask) - fit_logistic(controls).log10_lr(ask)
    assert np.abs(off).max() < 0.15


def test_pav_by_hand():
    # Order: second, first, second, first, first. The violators 2 and 3 pool: odds of classes of
    # weight 1/3 each (3 first) and 1/2 each (2 second): (1/3) / (1/2) = 2/3.
    controls = scored(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), [False, True, False, True, True])
    pooled = math.log10(2 / 3)
    assert pav_log10_lr(controls).tolist() == [
        -math.inf, pytest.approx(pooled), pytest.approx(pooled), math.inf, math.inf,
    ]  # fmt: skip


def test_pav_takes_infinite_ratios_and_ties():
    controls = scored(np.array([-math.inf, 1.0, 1.0, math.inf]), [False, True, False, True])
    assert pav_log10_lr(controls).tolist() == [-math.inf, 0.0, 0.0, math.inf]


@pytest.mark.parametrize(
    ("values", "first", "families", "message"),
    [
        ([1.0, 2.0], [True, True], None, "no control in one of the two classes"),
        ([], [], None, "no control in one of the two classes"),
        ([1.0, math.nan], [True, False], None, "NaN"),
        ([1.0, 2.0], [True, False], ["x", "x"], "'x' is in both classes"),
    ],
)
def test_controls_that_cannot_calibrate_are_refused(values, first, families, message):
    with pytest.raises(UndefinedError, match=message):
        scored(np.array(values), first, families)


@pytest.mark.parametrize("fit", [fit_logistic, fit_kernel])
def test_scores_without_a_scale_are_refused(fit):
    with pytest.raises(UndefinedError, match="all controls have the same score"):
        fit(scored(np.array([3.0, 3.0, 3.0, 3.0]), [True, True, False, False]))
    with pytest.raises(UndefinedError, match="infinite"):
        fit(scored(np.array([3.0, math.inf, 1.0, 2.0]), [True, True, False, False]))
