import pytest

from auditor.judge.null import family_values, standing


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
