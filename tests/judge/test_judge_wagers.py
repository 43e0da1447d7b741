"""The test by betting: exact on small cases, and no more false alarms than it states."""

import copy

import numpy as np
import pytest
from scipy.optimize import linprog
from test_judge_betting import cell

from auditor.errors import InputError
from auditor.judge.betting import MOVED
from auditor.judge.wagers import Wager, Wagers, log_weights


def test_wealth_of_one_answer_by_hand():
    # Ceilings 1 and 0.25 of a named answer and "any other". A bet q on the other pays q / 0.25
    # there and (1 - q) / 0.75 elsewhere; half of the stake is kept. The gains are 0.95 and 0.5 of
    # 0.1 -> 0.955 and 0.55, and 0.98 of that and 0.02 of 0.1 is bet.
    bets = [0.98 * gain + 0.02 * 0.1 for gain in (0.955, 0.55)]
    weights = (0.6 * 0.5, 0.4 * 0.5)
    pays = 0.5 + sum(w * q / 0.25 for w, q in zip(weights, bets, strict=True))
    wager = Wager([cell([0.9, 0.1], [1.0, 0.25], [0.0, 0.5])])
    # half of the wealth is kept for later starts
    first = np.mean([1 - m + m * pays for m in MOVED])
    assert 10 ** wager.add(0, 1) == pytest.approx(0.5 * first + 0.5)
    assert wager.asked.tolist() == [1]


def test_wealth_of_cells_multiplies_for_each_share_before_the_mean():
    both = cell([0.9, 0.1], [1.0, 0.25], [0.0, 0.5])
    bets = [0.98 * gain + 0.02 * 0.1 for gain in (0.955, 0.55)]
    pays = 0.5 + sum(w * q / 0.25 for w, q in zip((0.3, 0.2), bets, strict=True))
    wager = Wager([both, both])
    wager.add(0, 1)
    each = [1 - m + m * pays for m in MOVED]
    assert 10 ** wager.add(1, 1) == pytest.approx(0.5 * np.mean(np.square(each)) + 0.5)
    assert 10 ** wager.log10_of_cells() == pytest.approx([0.5 * np.mean(each) + 0.5] * 2)


def test_weights_of_the_starts_and_of_what_is_to_come():
    # 1/2, 1/6, 1/12 have begun, and 1/4 is left: 1 in all
    assert np.exp(log_weights(3)) == pytest.approx([1 / 2, 1 / 6, 1 / 12, 1 / 4])


def test_the_same_bets_begin_again_after_fifty_answers():
    # Of the bets of the first test: n usual answers and one of the others multiply the stake on
    # each gain by ((1 - q) / 0.75)^n q / 0.25. The second start has seen that last answer alone.
    bets = np.array([0.98 * gain + 0.02 * 0.1 for gain in (0.955, 0.55)])
    wager = Wager([cell([0.9, 0.1], [1.0, 0.25], [0.0, 0.5])])
    for _ in range(50):
        wager.add(0, 0)
    found = 10 ** wager.add(0, 1)

    def wealth(usual):
        gained = ((1 - bets) / 0.75) ** usual * bets / 0.25
        return np.mean([1 - m + m * (0.5 + gained @ [0.3, 0.2]) for m in MOVED])

    assert found == pytest.approx(wealth(50) / 2 + wealth(0) / 6 + 1 / 3)


def most_expected(wagers, place, at):
    """Return the most that a group's wealth is after one more answer, on average, of its null."""
    limits = CELLS[place][at].limits
    after = []
    for answer in range(len(limits)):
        again = copy.deepcopy(wagers)
        again.add(at, answer)
        after.append(10.0 ** again.groups[place].log10_wealth)
    found = linprog(
        -np.array(after), A_eq=[[1.0] * len(after)], b_eq=[1.0], bounds=[(0, x) for x in limits]
    )
    return -found.fun


CELLS = [
    [cell([0.55, 0.43, 0.02], [0.6, 0.48, 0.04]), cell([0.9, 0.08, 0.02], [1.0, 0.12, 0.04])],
    [cell([0.4, 0.58, 0.02], [0.5, 0.63, 0.04]), cell([0.85, 0.13, 0.02], [1.0, 0.2, 0.04])],
]


@pytest.mark.parametrize("before", [0, 49, 50, 51, 120])
def test_no_answer_is_expected_to_gain_across_starts(before):
    # Linear in the probabilities of the answers, so a linear program finds the worst honest
    # deployment of each group; the next cell follows from the past, so each of them is tried.
    draw, wagers = np.random.RandomState(before), Wagers(CELLS)
    for _ in range(before):
        wagers.add(wagers.next_cell(), draw.choice(3, p=[0.5, 0.4, 0.1]))
    for place, group in enumerate(wagers.groups):
        for at in range(2):
            assert most_expected(wagers, place, at) <= 10.0**group.log10_wealth * (1 + 1e-9)


def test_many_usual_answers_do_not_hide_a_change():
    steady = [cell([0.96, 0.02, 0.02], [1.0, 0.04, 0.04])] * 8
    wagers = Wagers([steady])
    for _ in range(450):
        wagers.add(wagers.next_cell(), 0)
    asked = 0
    while wagers.log10_wealth < 2.0:
        wagers.add(wagers.next_cell(), 2)
        asked += 1
    assert asked <= 15


def test_alarms_at_the_ceilings_are_rarer_than_stated():
    # 10 cells whose first answer is as rare as is allowed, watched over 150 answers and stopped
    # at the highest wealth: 1 % of watches may reach 100. The 99.9 % limit of 1 % of 600 is 13.
    draw = np.random.RandomState(2)
    cells = [cell([0.55, 0.43, 0.02], [0.6, 0.48, 0.04])] * 10
    share = np.array([0.48, 0.48, 0.04])
    alarms = 0
    for _ in range(600):
        wager, highest = Wagers([cells]), 0.0
        for _ in range(150):
            highest = max(highest, wager.add(wager.next_cell(), draw.choice(3, p=share)))
        alarms += highest >= 2.0
    assert alarms <= 13


def test_a_deployment_of_any_group_is_honest():
    # What is all but excluded in one group is usual in the other: the least wealth counts.
    one = [cell([0.97, 0.01, 0.02], [1.0, 0.03, 0.04])] * 4
    other = [cell([0.01, 0.97, 0.02], [0.03, 1.0, 0.04])] * 4
    for answer, place in ((0, 0), (1, 1)):
        wagers = Wagers([one, other])
        for _ in range(40):
            least = wagers.add(wagers.next_cell(), answer)
            assert least == wagers.log10_wealth
        assert wagers.log10_wealth <= 0.0
        assert wagers.nearest == place
        assert max(group.log10_wealth for group in wagers.groups) > 2.0
    wagers = Wagers([one, other])
    for _ in range(10):
        wagers.add(wagers.next_cell(), 2)
    assert wagers.log10_wealth > 2.0


def test_a_bet_that_cannot_win_is_not_made():
    wager = Wager([cell([0.5, 0.5], [1.0, 1.0])])
    assert wager.add(0, 0) == pytest.approx(0.0)
    assert wager.add(0, 1) == pytest.approx(0.0)


def test_the_cell_that_moved_is_asked_again_and_no_cell_is_forgotten():
    wager = Wager([cell([0.96, 0.02, 0.02], [1.0, 0.04, 0.04])] * 3)
    order = []
    for _ in range(16):
        asked = wager.next_cell()
        order.append(asked)
        wager.add(asked, 2 if asked == 1 else 0)
    assert set(order) == {0, 1, 2}
    assert order.count(1) > 8


@pytest.mark.parametrize("limits", [[0.0, 1.0], [0.5, 1.2], [0.4, 0.4]])
def test_impossible_ceilings_are_refused(limits):
    with pytest.raises(InputError, match="ceiling"):
        Wager([cell([0.5, 0.5], limits)])


def test_nothing_to_ask_is_refused():
    with pytest.raises(InputError, match="no cell"):
        Wager([])
    with pytest.raises(InputError, match="no group"):
        Wagers([])
