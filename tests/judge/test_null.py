import math

import numpy as np
import pytest
from scipy.stats import kstest

from auditor.errors import UndefinedError
from auditor.judge.null import family_values, predictive_p, standing


def test_rank_p_counts_the_controls_that_are_at_least_as_close():
    # Higher is closer: of 1, 5, 7 one (7) is >= 6: (1 + 1) / (3 + 1).
    assert standing(6.0, [1.0, 5.0, 7.0], "higher").rank_p == 0.5
    # Lower is closer: 1 and 5 are <= 6: (1 + 2) / 4.
    assert standing(6.0, [1.0, 5.0, 7.0], "lower").rank_p == 0.75


def test_a_tie_counts_against_the_finding():
    assert standing(2.0, [2.0], "higher").rank_p == 1.0


def test_the_floor_is_one_over_k_plus_one():
    place = standing(0.0, [1.0] * 19, "lower")
    assert place.rank_p == place.floor == 0.05


def test_no_controls_give_no_rank():
    assert standing(1.0, [], "higher").rank_p is None


def test_z_is_positive_towards_the_reference():
    # Mean 2, standard deviation 1 (n - 1): (4 - 2) / 1.
    assert standing(4.0, [1.0, 2.0, 3.0], "higher").z == pytest.approx(2.0)
    assert standing(4.0, [1.0, 2.0, 3.0], "lower").z == pytest.approx(-2.0)


def test_two_controls_give_no_z():
    assert standing(4.0, [1.0, 2.0], "higher").z is None


def test_a_family_counts_once_by_its_closest_member():
    values = family_values([0.1, 0.9, 0.5, None], ["a", "a", "b", "c"], "higher")
    assert values == [0.9, 0.5]
    assert family_values([0.1, 0.9, 0.5], ["a", "a", "b"], "lower") == [0.1, 0.5]


def test_predictive_p_of_four_controls_by_the_cauchy_like_t_of_three_degrees():
    # Controls -1, -1, 1, 1: mean 0, variance 4/3. Value 2 sqrt(5/3) gives
    # t = 2 sqrt(5/3) / (sqrt(4/3) sqrt(5/4)) = 2. P(T_3 > 2) by its closed form
    # 1/2 - (theta + sin theta cos theta) / pi with tan theta = t / sqrt(3).
    theta = math.atan(2 / math.sqrt(3))
    expected = 0.5 - (theta + math.sin(theta) * math.cos(theta)) / math.pi
    value = 2 * math.sqrt(5 / 3)
    assert predictive_p(value, [-1, -1, 1, 1], "higher") == pytest.approx(expected, rel=1e-12)
    assert predictive_p(value, [-1, -1, 1, 1], "lower") == pytest.approx(1 - expected, rel=1e-12)


def test_predictive_p_has_no_floor_but_a_heavy_tail():
    far, farther = (predictive_p(value, [0.0, 1.0, 2.0], "higher") for value in (1e3, 1e4))
    assert 0 < farther < far < 1 / 4
    # With 2 degrees of freedom the tail falls with the square of the distance.
    assert far / farther == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize(
    ("controls", "reason"),
    [
        ([], "0 control families: their spread needs at least 3"),
        ([1.0], "1 control family: their spread needs at least 3"),
        ([1.0, 2.0], "2 control families: their spread needs at least 3"),
        ([0.1, 0.1, 0.1, 0.1], "all 4 control families have the same value"),
    ],
)
def test_without_a_spread_there_is_no_predictive_p_and_the_reason_is_said(controls, reason):
    place = standing(4.0, controls, "higher")
    assert (place.predictive_p, place.z, place.no_spread) == (None, None, reason)


def test_standing_holds_the_predictive_p():
    place = standing(4.0, [1.0, 2.0, 4.5], "higher")
    assert place.predictive_p == predictive_p(4.0, [1.0, 2.0, 4.5], "higher")
    assert place.no_spread is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_no_number_has_no_place(bad):
    with pytest.raises(UndefinedError, match="no place among controls"):
        standing(bad, [1.0, 2.0, 3.0], "higher")
    with pytest.raises(UndefinedError, match="no place among controls"):
        standing(1.0, [1.0, bad, 3.0], "higher")
    with pytest.raises(UndefinedError, match="no place among controls"):
        predictive_p(bad, [1.0, 2.0, 3.0], "lower")


def predictive_ps(draw, families, runs=4000):
    random = np.random.RandomState(0)
    draws = draw(random, (runs, families + 1))
    return np.array([predictive_p(row[0], row[1:].tolist(), "higher") for row in draws])


@pytest.mark.parametrize("families", [3, 12])
def test_predictive_p_is_uniform_where_controls_are_normal(families):
    found = predictive_ps(lambda random, size: random.normal(size=size), families, 2000)
    assert kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("families", [6, 20])
def test_predictive_p_rejects_little_more_than_it_should_under_heavy_tails(families):
    found = predictive_ps(lambda random, size: random.standard_t(5, size=size), families)
    # 4000 draws: standard errors .0034 and .0016.
    assert (found < 0.05).mean() < 0.06
    assert (found < 0.01).mean() < 0.018
