"""The test by betting: exact on small cases, and no more false alarms than it states."""

import math

import numpy as np
import pytest
from scipy.stats import beta

from auditor.errors import InputError
from auditor.judge.betting import STRENGTHS, Wager, ceilings, headroom, power


def test_wealth_of_two_answers_by_hand():
    # One cell, answers a and "other", ceilings 0.5 and 0.25: half the stake on each. An answer a
    # multiplies the bet on a by 1 + s and the other by 1 - s; "other" by 1 - s and 1 + 3 s.
    wager = Wager([np.array([0.5, 0.25])])
    first = wager.add(0, 0)
    assert 10**first == pytest.approx(np.mean([((1 + s) + (1 - s)) / 2 for s in STRENGTHS]))
    second = wager.add(0, 1)
    by_hand = [((1 + s) * (1 - s) + (1 - s) * (1 + 3 * s)) / 2 for s in STRENGTHS]
    assert 10**second == pytest.approx(np.mean(by_hand))
    assert wager.asked.tolist() == [2]


def test_cells_of_one_strength_multiply_before_the_mean():
    limits = np.array([0.5, 0.25])
    wager = Wager([limits, limits])
    wager.add(0, 1)
    wealth = 10 ** wager.add(1, 1)
    each = [((1 - s) + (1 + 3 * s)) / 2 for s in STRENGTHS]
    assert wealth == pytest.approx(np.mean(np.square(each)))
    assert 10 ** wager.log10_of_cells() == pytest.approx([np.mean(each)] * 2)


def test_no_bet_gains_under_any_honest_deployment():
    # The mean of the wealth after one answer is linear in the probabilities, so random honest
    # ones with some at their ceilings are the ones to try.
    draw = np.random.RandomState(1)
    for _ in range(200):
        limits = draw.uniform(0.2, 0.9, size=4)
        share = draw.dirichlet(np.ones(4) * 0.3)
        if np.any(share > limits):
            continue
        mean = 0.0
        for answer in range(4):
            wager = Wager([limits])
            mean += share[answer] * 10 ** wager.add(0, answer)
        assert mean <= 1.0 + 1e-12


def test_alarms_at_the_ceilings_are_rarer_than_stated():
    # 10 cells at the ceilings of their two named answers, watched over 150 answers and stopped at
    # the highest wealth: 1 % of watches may reach 100. The 99.9 % limit of 1 % of 600 is 13.
    draw = np.random.RandomState(2)
    limits = [np.array([0.55, 0.45, 0.02])] * 10
    share = np.array([0.54, 0.44, 0.02])
    alarms = 0
    for _ in range(600):
        wager, highest = Wager(limits), 0.0
        for _ in range(150):
            highest = max(highest, wager.add(wager.next_cell(), draw.choice(3, p=share)))
        alarms += highest >= 2.0
    assert alarms <= 13


def test_a_swap_and_a_small_shift_are_seen():
    usual = [np.array([0.5, 0.48, 0.02])] * 10
    limits = [np.array([0.53, 0.51, 0.04])] * 10
    swap = power(usual, limits, 1.0, log10_alarm=2.0, queries=150, runs=60)
    shift = power(usual, limits, 0.3, log10_alarm=2.0, queries=150, runs=60)
    none = power(usual, limits, 0.0, log10_alarm=2.0, queries=150, runs=60)
    assert swap.queries is not None
    assert shift.queries is not None
    assert swap.queries <= 15
    assert swap.queries < shift.queries <= 150
    assert none.queries is None
    assert none.share <= 0.05


def test_ceilings_are_the_largest_pass_and_how_far_they_lie_apart():
    passes = np.array([[0.6, 0.4, 0.0], [0.5, 0.5, 0.0]])
    assert ceilings(passes, [None, None]) == pytest.approx([0.7, 0.6, 0.02])
    # 60 of 100 drawn: the Clopper-Pearson limit of 99.9 %
    drawn = ceilings(np.array([[0.6, 0.4]]), [100])
    assert drawn == pytest.approx([beta.ppf(0.999, 61, 40) + 0.02, beta.ppf(0.999, 41, 60) + 0.02])
    # an answer that was always given may always be given
    assert ceilings(np.array([[1.0, 0.0]]), [50])[0] == 1.0


def test_cells_that_are_near_a_tie_in_every_pass_show_most():
    tie = np.array([[0.5, 0.5, 0.0]])
    sure = np.array([[0.98, 0.02, 0.0]])
    apart = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    rooms = [headroom(p, ceilings(p, [None] * len(p))) for p in (tie, sure, apart)]
    assert rooms[0] > rooms[1]
    assert rooms[0] > rooms[2]


def test_a_bet_that_can_hardly_win_is_not_made():
    wager = Wager([np.array([1.0, 0.97])])
    assert wager.add(0, 0) == wager.add(0, 1) == 0.0


def test_every_cell_is_asked_before_the_one_that_moved():
    wager = Wager([np.array([0.5, 0.5, 0.02])] * 3)
    order = []
    for _ in range(10):
        cell = wager.next_cell()
        order.append(cell)
        wager.add(cell, 2 if cell == 1 else 0)
    assert sorted(order[:6]) == [0, 0, 1, 1, 2, 2]
    assert order[6:].count(1) >= 2
    assert math.isfinite(wager.log10_wealth)


@pytest.mark.parametrize("limits", [[], [np.array([0.0, 0.5])], [np.array([0.5, 1.2])]])
def test_impossible_ceilings_are_refused(limits):
    with pytest.raises(InputError, match="ceiling"):
        Wager(limits)


def test_probabilities_that_are_none_are_refused():
    with pytest.raises(InputError, match="add up"):
        ceilings(np.array([[0.5, 0.4]]), [None])
