import math

import numpy as np
import pytest

from auditor.errors import UndefinedError
from auditor.judge.multiplicity import cauchy_p, harmonic_p, holm


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04: 4*.01, 3*.02, 2*.03, 1*.04 -> running maximum .04 .06 .06 .06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_counts_only_the_tests_that_were_made():
    assert holm([0.02, None, 0.5]) == [pytest.approx(0.04), None, 0.5]
    assert holm([None]) == [None]
    assert holm([]) == []


def test_holm_is_at_most_one():
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_keeps_the_family_wise_error_under_dependence():
    # 20 tests that share nine tenths of their variance; some true null is rejected in <= 5 %.
    random = np.random.RandomState(0)
    shared, own = random.normal(size=(1500, 1)), random.normal(size=(1500, 20))
    z = np.sqrt(0.9) * shared + np.sqrt(0.1) * own
    p = 0.5 * np.vectorize(math.erfc)(z / math.sqrt(2))
    rejected = [min(holm(row.tolist())) < 0.05 for row in p]
    assert np.mean(rejected) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_cauchy_of_one_p_value_is_that_value():
    assert cauchy_p([0.03]) == pytest.approx(0.03)
    assert cauchy_p([1e-20, None]) == pytest.approx(1e-20)


def test_cauchy_of_equal_p_values_is_that_value():
    assert cauchy_p([0.2] * 7) == pytest.approx(0.2)


def test_cauchy_by_hand():
    # cot(pi/4) = 1 and cot(pi/2) = 0: mean 1/2, arccot(1/2) / pi.
    assert cauchy_p([0.25, 0.5]) == pytest.approx(math.atan(2) / math.pi)


def test_cauchy_of_a_small_one_among_many_is_about_bonferroni():
    assert cauchy_p([1e-9, *[0.5] * 9]) == pytest.approx(1e-8, rel=1e-6)


def test_one_p_value_of_one_cannot_outweigh_a_finding():
    assert cauchy_p([1e-6, 1.0]) == pytest.approx(2e-6, rel=1e-3)


def test_p_values_that_underflowed_are_combined_as_the_smallest():
    assert 0 < cauchy_p([0.0, 0.5]) <= 1e-299
    assert 0 < harmonic_p([0.0, 0.5]) <= 1e-298


def test_harmonic_by_hand():
    # Two: twice the harmonic mean of .01 and .03, 2 * 2/(100 + 100/3) = .03.
    assert harmonic_p([0.01, 0.03]) == pytest.approx(0.03)
    # Three equal: e ln 3 times the value.
    assert harmonic_p([0.01, 0.01, 0.01]) == pytest.approx(0.01 * math.e * math.log(3))
    assert harmonic_p([0.04]) == pytest.approx(0.04)
    assert harmonic_p([0.9, 0.9, 0.9]) == 1.0


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_combinations_hold_their_level_under_dependence(correlation):
    random = np.random.RandomState(1)
    shared, own = random.normal(size=(4000, 1)), random.normal(size=(4000, 6))
    z = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
    p = 0.5 * np.vectorize(math.erfc)(z / math.sqrt(2))
    assert np.mean([cauchy_p(row.tolist()) < 0.01 for row in p]) < 0.0155
    assert np.mean([harmonic_p(row.tolist()) < 0.01 for row in p]) <= 0.01


@pytest.mark.parametrize("combine", [cauchy_p, harmonic_p])
def test_nothing_to_combine_is_undefined(combine):
    with pytest.raises(UndefinedError, match="no p-value"):
        combine([None, None])


@pytest.mark.parametrize("function", [holm, cauchy_p, harmonic_p])
@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_what_is_no_p_value_is_refused(function, bad):
    with pytest.raises(UndefinedError, match="outside"):
        function([0.5, bad])
