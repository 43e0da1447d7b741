import math

import numpy as np
import pytest

from auditor.errors import UndefinedError
from auditor.judge.bounds import Bounds, elub, family_bounds, largest_lr


def separated(families):
    return np.full(families, 5.0), np.full(families, -5.0)


@pytest.mark.parametrize(("families", "lr"), [(10, 10), (30, 28), (100, 98), (500, 490)])
def test_perfect_separation_supports_an_lr_of_about_the_number_of_families(families, lr):
    # The row "perfect separation" of evidence.md 3.4; the grid of .01 is worth 2.3 %.
    lower, upper = elub(*separated(families))
    assert 10**upper == pytest.approx(lr, rel=0.055)
    assert lower == pytest.approx(-upper, abs=0.0101)


@pytest.mark.parametrize(("first", "second"), [(10, 10), (12, 60), (60, 12), (100, 40)])
def test_perfect_separation_agrees_with_its_closed_form(first, second):
    lower, upper = elub(np.full(first, 5.0), np.full(second, -5.0))
    assert math.log10(largest_lr(first, second)) - 0.01 <= upper + 1e-9
    assert upper <= math.log10(largest_lr(first, second)) + 1e-9
    assert lower - 0.01 <= -math.log10(largest_lr(second, first)) + 1e-9
    assert -math.log10(largest_lr(second, first)) <= lower + 1e-9


@pytest.mark.parametrize(("families", "lr"), [(10, 7), (30, 15), (100, 48)])
def test_at_a_distance_of_three_the_median_bound_is_that_of_the_table(families, lr):
    # evidence.md 3.4, d' = 3: scores N(0, 1) against N(3, 1) have ln LR = 3 x - 4.5. A median of
    # 200 runs whose logarithms spread by about .3 is known to about 20 %.
    random = np.random.RandomState(0)
    bounds = []
    for _ in range(200):
        first, second = random.normal(3, 1, families), random.normal(0, 1, families)
        scale = math.log(10)
        bounds.append(elub((3 * first - 4.5) / scale, (3 * second - 4.5) / scale)[1])
    assert 10 ** np.median(bounds) == pytest.approx(lr, rel=0.25)


def test_a_system_that_tells_nothing_apart_supports_no_lr():
    both = np.linspace(-2, 2, 40)
    assert elub(both, both) == (0.0, 0.0)


def test_a_misleading_system_has_no_bound_on_the_wrong_side():
    assert elub(*reversed(separated(40))) == (0.0, 0.0)


def test_infinite_ratios_are_bounded_like_large_ones():
    infinite = elub(np.full(20, math.inf), np.full(20, -math.inf))
    assert infinite == elub(*separated(20))


def test_elub_leaves_its_arguments_alone():
    first = np.array([math.inf, 12.0, 1.0])
    elub(first, np.array([-math.inf, -12.0]))
    assert first.tolist() == [math.inf, 12.0, 1.0]


def test_a_family_counts_once_by_its_most_misleading_member():
    ratios = [*[3.0] * 20, *[-3.0] * 20]
    holds = [True] * 20 + [False] * 20
    families = [f"f{i}" for i in range(40)]
    plain = family_bounds(ratios, holds, families)
    # Ten good copies of one family change nothing; one bad member of it does.
    copied = family_bounds(
        [*ratios, *[3.0] * 10], [*holds, *[True] * 10], [*families, *["f0"] * 10]
    )
    assert copied == plain
    assert plain.families == (20, 20)
    worse = family_bounds([*ratios, 3.0], [*holds, False], [*families, "f30"])
    assert worse.families == (20, 20)
    # 1/21 + t 2/21 < 1 up to t = 10; with no family misled up to t = 20.
    assert worse.upper == pytest.approx(1.0, abs=0.0101)
    assert plain.upper == pytest.approx(math.log10(20), abs=0.0101)


def test_fewer_than_ten_families_are_refused_however_many_members_they_have():
    with pytest.raises(UndefinedError, match="insufficient controls: 9 and 30") as error:
        family_bounds(
            [3.0] * 90 + [-3.0] * 30,
            [True] * 90 + [False] * 30,
            [f"a{i % 9}" for i in range(90)] + [f"b{i}" for i in range(30)],
        )
    assert "rank" in error.value.hint


def test_a_family_in_both_classes_is_refused():
    with pytest.raises(UndefinedError, match="'x' is in both classes"):
        family_bounds([1.0, -1.0], [True, False], ["x", "x"])


def test_nan_and_empty_classes_are_refused():
    with pytest.raises(UndefinedError, match="NaN"):
        elub(np.array([math.nan]), np.array([1.0]))
    with pytest.raises(UndefinedError, match="no control"):
        elub(np.array([]), np.array([1.0]))


def test_a_value_beyond_a_bound_is_moved_to_it_and_said_to_be_capped():
    bounds = Bounds(lower=-1.2, upper=1.5, families=(20, 30))
    assert [bounds.clip(x) for x in (-3.0, 0.4, 9.0)] == [-1.2, 0.4, 1.5]
    assert [bounds.reached(x) for x in (-3.0, -1.2, 0.4, 1.5, 9.0)] == [
        True,
        True,
        False,
        True,
        True,
    ]
