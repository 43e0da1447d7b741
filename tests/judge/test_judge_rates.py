import math

import numpy as np
import pytest
from scipy.stats import binomtest

from auditor.errors import UndefinedError
from auditor.judge.assess import auc, cllr
from auditor.judge.bootstrap import Draws, class_families, family_interval
from auditor.judge.calibrate import scored
from auditor.judge.rates import auc_interval, clopper_pearson, misleading, rate, tpr_interval

DRAWS = Draws(seed=3, resamples=300)


def ratios(first, second, families=None):
    values = np.array([*first, *second], dtype=np.float64)
    return scored(values, [True] * len(first) + [False] * len(second), families)


def test_nothing_seen_in_n_has_its_closed_form_limit():
    # (1 - upper)^n = .025.
    assert clopper_pearson(0, 20) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert clopper_pearson(20, 20) == (pytest.approx(0.025 ** (1 / 20)), 1.0)


@pytest.mark.parametrize(("count", "total"), [(1, 7), (3, 19), (50, 101)])
def test_limits_are_those_of_the_exact_binomial_test(count, total):
    oracle = binomtest(count, total).proportion_ci(method="exact")
    assert clopper_pearson(count, total) == pytest.approx((oracle.low, oracle.high))
    assert rate(count, total).value == count / total


@pytest.mark.parametrize(("count", "total"), [(0, 0), (3, 2), (-1, 4)])
def test_what_is_no_share_is_refused(count, total):
    with pytest.raises(UndefinedError, match="no share"):
        clopper_pearson(count, total)


def test_misleading_evidence_counts_families():
    # First class: families a (LR 100 and 0.05), b (LR 30); second: c (LR 20 twice), d (0.1).
    log = np.log10
    controls = ratios([2, log(0.05), log(30)], [log(20), log(20), -1], list("aabccd"))
    at_one, at_ten, at_hundred = misleading(controls, list("aabccd"))
    assert (at_one.false_support.count, at_one.false_support.families) == (1, 2)
    assert (at_one.false_exclusion.count, at_one.missed.count) == (1, 1)
    assert (at_ten.false_support.count, at_ten.false_exclusion.count, at_ten.missed.count) == (
        1,
        1,
        1,
    )
    # An LR of exactly 100 does not exceed 100.
    assert (at_hundred.false_support.count, at_hundred.missed.count) == (0, 2)
    assert [found.lr for found in (at_one, at_ten, at_hundred)] == [1.0, 10.0, 100.0]


def test_separated_classes_get_the_limit_of_disjoint_pairs():
    # 5 against 15 families: five disjoint pairs, all in order.
    controls = ratios(np.arange(5.0) + 100, np.arange(15.0))
    families = [str(i) for i in range(20)]
    assert auc_interval(controls, families, DRAWS) == (pytest.approx(0.025 ** (1 / 5)), 1.0)
    turned = ratios(np.arange(5.0) - 100, np.arange(15.0))
    assert auc_interval(turned, families, DRAWS) == (0.0, pytest.approx(1 - 0.025 ** (1 / 5)))


def test_auc_interval_surrounds_the_value_and_repeats():
    random = np.random.RandomState(0)
    controls = ratios(random.normal(1, 1, 30), random.normal(0, 1, 40))
    families = [str(i) for i in range(70)]
    low, high = auc_interval(controls, families, DRAWS)
    assert low < auc(controls) < high
    assert (low, high) == auc_interval(controls, families, DRAWS)
    # Hanley & McNeil 1982: the standard error of the AUC.
    a = auc(controls)
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = math.sqrt((a * (1 - a) + 29 * (q1 - a * a) + 39 * (q2 - a * a)) / (30 * 40))
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.25)


def test_members_of_a_family_are_drawn_together():
    # Four families of ten alike members: as wide as four single ones.
    first, second = [0.0, 1.0, 2.0, 9.0], [-1.0, 0.5, -2.0, 1.5]
    names = list("abcdefgh")
    single = family_interval(cllr, ratios(first, second, names), names, DRAWS)
    tenfold = [name for name in names for _ in range(10)]
    many = ratios(np.repeat(first, 10), np.repeat(second, 10), tenfold)
    assert family_interval(cllr, many, tenfold, DRAWS) == pytest.approx(single)
    assert class_families(many, tenfold) == (4, 4)


def test_a_tpr_of_one_keeps_its_exact_lower_limit():
    controls = ratios(np.full(12, 5.0), np.arange(10.0) / 10)
    families = [str(i) for i in range(22)]
    assert tpr_interval(controls, families, DRAWS) == (pytest.approx(0.025 ** (1 / 12)), 1.0)
