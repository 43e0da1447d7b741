"""What is bet on an answer: exact on small cases, and never more than an honest one pays for."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import beta

from auditor.errors import InputError
from auditor.judge.betting import (
    Cell,
    ceilings,
    gaining,
    nearest_honest,
    payoffs,
)


def cell(usual, limits, weights=None, temperature=1.0):
    usual, limits = np.array(usual), np.array(limits)
    if weights is None:
        weights = gaining(usual, limits, temperature)
    return Cell(usual=usual, limits=limits, weights=np.array(weights))


def test_the_nearest_honest_distribution_by_hand():
    # the second exceeds its ceiling; what is left, 0.7, is shared as 0.1 to 0.1
    found = nearest_honest(np.array([0.1, 0.8, 0.1]), np.array([0.9, 0.3, 0.9]))
    assert found == pytest.approx([0.35, 0.3, 0.35])
    # as before, but a third of 0.35 is not allowed either
    found = nearest_honest(np.array([0.1, 0.8, 0.1]), np.array([0.9, 0.3, 0.2]))
    assert found == pytest.approx([0.5, 0.3, 0.2])
    honest = np.array([0.2, 0.3, 0.5])
    assert nearest_honest(honest, np.array([0.3, 0.3, 0.6])) == pytest.approx(honest)


def test_the_nearest_honest_distribution_as_a_solver_finds_it():
    draw = np.random.RandomState(0)
    for _ in range(20):
        wanted = draw.dirichlet(np.ones(4))
        limits = np.minimum(1.0, draw.dirichlet(np.ones(4)) + 0.1)
        found = minimize(
            lambda p, wanted=wanted: -(wanted * np.log(p)).sum(),
            limits / limits.sum(),
            bounds=[(1e-9, limit) for limit in limits],
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1.0},
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert nearest_honest(wanted, limits) == pytest.approx(found.x, abs=2e-4)


def test_a_bet_pays_by_how_much_it_exceeds_the_ceiling():
    # q = 0.98 on the second, of which 0.98 and a share of 0.02 of the usual answers are bet
    q = 0.98 * 0.98 + 0.02 * 0.02
    bet, pays = payoffs(np.array([0.02, 0.98]), np.array([0.98, 0.02]), np.array([1.0, 0.1]))
    assert bet == pytest.approx([1 - q, q])
    assert pays == pytest.approx([(1 - q) / 0.9, q / 0.1])


def test_an_answer_is_bet_on_the_more_the_nearer_it_is_to_a_tie():
    # At a temperature of 0.5, log-odds of 1 are 0.5 nats: exp(-0.5 / 0.25) of the weight of a tie.
    # The third is 5 nats away and gets the least of a named answer; "any other" always 0.2.
    shares = np.exp([0.0, -1.0, -10.0, -30.0])
    usual, limits = shares / shares.sum(), np.array([0.9, 0.9, 0.9, 0.02])
    by_hand = np.array([1.0, math.exp(-2.0), 0.05, 0.2])
    assert gaining(usual, limits, 0.5) == pytest.approx(by_hand / by_hand.sum())
    # what may always be given cannot win, and less than all is bet then
    limits[0] = 1.0
    assert gaining(usual, limits, 0.5) == pytest.approx([0.0, *by_hand[1:]])
    # an answer that was never given is as far as can be
    assert gaining(np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.1, 0.1]), 0.01)[1] == 0.05


def test_no_bet_gains_under_any_honest_deployment():
    # The mean of what a bet pays is linear in the probabilities: random honest ones, many with
    # some at their ceilings, are the ones to try.
    draw = np.random.RandomState(1)
    for _ in range(200):
        usual = draw.dirichlet(np.ones(4) * 0.5)
        limits = np.minimum(1.0, usual + draw.uniform(0.02, 0.3, size=4))
        wanted = draw.dirichlet(np.ones(4) * 0.3)
        _, pays = payoffs(wanted, usual, limits)
        for order in (draw.permutation(4), np.argsort(-pays)):
            share, left = np.zeros(4), 1.0
            for index in order:  # as much as is allowed, in this order
                share[index] = min(left, limits[index])
                left -= share[index]
            assert share @ pays <= 1.0 + 1e-9


def test_ceilings_are_the_largest_pass_and_a_margin():
    passes = np.array([[0.6, 0.4, 0.0], [0.5, 0.5, 0.0]])
    assert ceilings(passes, [None, None]) == pytest.approx([0.62, 0.52, 0.02])
    # odds of 1.5 and of 1, raised by e^noise = 2: 3/4 and 2/3
    raised = ceilings(passes, [None, None], noise=math.log(2.0))
    assert raised == pytest.approx([0.77, 2 / 3 + 0.02, 0.02])
    # 60 of 100 drawn: the Clopper-Pearson limit of 99.9 %
    drawn = ceilings(np.array([[0.6, 0.4]]), [100])
    assert drawn == pytest.approx([beta.ppf(0.999, 61, 40) + 0.02, beta.ppf(0.999, 41, 60) + 0.02])
    # two drawn passes that lie 0.1 apart, which is more than the floor
    apart = ceilings(np.array([[0.6, 0.4], [0.5, 0.5]]), [100, 100])
    assert apart == pytest.approx([beta.ppf(0.999, 61, 40) + 0.1, beta.ppf(0.999, 51, 50) + 0.1])
    # an answer that was always given may always be given
    assert ceilings(np.array([[1.0, 0.0]]), [50])[0] == 1.0


def test_probabilities_that_are_none_are_refused():
    with pytest.raises(InputError, match="add up"):
        ceilings(np.array([[0.5, 0.4]]), [None])
