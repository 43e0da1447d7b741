"""The distributions of replay.py against those of scipy, which the package computes with."""

import numpy as np
import pytest
from replay_world import replay_module
from scipy import special, stats
from scipy.optimize import isotonic_regression, linear_sum_assignment

replay = replay_module()


@pytest.mark.parametrize("freedom", [1, 2, 5, 14, 94, 1534])
def test_the_tail_of_student_t_is_scipys(freedom):
    t = np.array([-40.0, -3.0, -0.1, 0.0, 0.1, 0.5, 1.0, 3.0, 12.8, 40.0, 1393.6])
    wanted = special.stdtr(freedom, -t)
    seen = wanted > 1e-290
    assert replay.student_tail(t, freedom)[seen] == pytest.approx(wanted[seen], rel=1e-10)


def test_the_tail_near_the_middle_is_that_of_the_closed_form():
    # One degree of freedom is the Cauchy distribution: 1/2 - arctan(t)/pi.
    t = np.array([-1e-3, -1e-6, -1e-9, 1e-9, 1e-6, 1e-3])
    assert replay.student_tail(t, 1) == pytest.approx(0.5 - np.arctan(t) / np.pi, rel=1e-14)


@pytest.mark.parametrize("freedom", [1.0, 2.5, 14.0, 200.0])
@pytest.mark.parametrize("tail", [0.4, 0.025, 0.005, 1e-6])
def test_the_quantile_of_student_t_is_scipys(freedom, tail):
    wanted = -special.stdtrit(freedom, tail)
    assert replay.student_quantile(tail, freedom) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 9, 40])
def test_the_tail_of_chi_square_is_scipys(freedom):
    for x in (0.0, 0.1, 1.0, 9.0, 40.0, 300.0):
        wanted = special.chdtrc(freedom, x)
        assert replay.chi2_tail(x, freedom) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_p_of_spearmans_rho_is_scipys(sign):
    random = np.random.RandomState(0)
    x = random.randint(0, 30, 64)
    y = 0.5 * x + random.normal(size=64) * 6
    wanted = stats.spearmanr(x, y, alternative="greater" if sign == 1 else "less").pvalue
    assert replay.spearman_p(x, y, sign) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (5, 9)])
def test_the_assignment_is_the_best_one(shape):
    gain = np.random.RandomState(1).normal(size=shape)
    chosen = replay.best_assignment(gain)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    assert len(set(chosen)) == shape[0]
    assert sum(gain[i, j] for i, j in enumerate(chosen)) == pytest.approx(gain[rows, columns].sum())


def test_isotonic_means_are_scipys():
    random = np.random.RandomState(2)
    values, weights = random.normal(size=12), random.randint(1, 9, 12)
    wanted = isotonic_regression(values, weights=weights).x
    assert replay.isotonic(values, weights) == pytest.approx(wanted)


def test_simplex_weights_meet_the_optimality_conditions():
    # Karush-Kuhn-Tucker: one slope where a weight is positive, and no smaller one elsewhere.
    random = np.random.RandomState(3)
    x, y = random.normal(size=(40, 7)), random.normal(size=40)
    gram, target = x.T @ x, x.T @ (y + x[:, 2] + x[:, 5])
    weights = replay._least_squares_on_simplex(gram[None], target[None])[0]
    slope = gram @ weights - target
    level = slope[weights > 0]
    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() >= 0
    assert np.ptp(level) < 1e-9 * np.abs(gram).max()
    assert slope.min() >= level.min() - 1e-9 * np.abs(gram).max()
