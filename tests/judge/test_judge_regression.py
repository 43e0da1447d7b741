import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from auditor.errors import UndefinedError
from auditor.judge.calibrate import family_weights
from auditor.judge.regression import Coefficients, Data, Problem, basis, fit_multinomial

CLASSES = ("independent", "imitation", "replication")
SHORT, LONG, REST = "imitation:independent", "replication:independent", "replication:imitation"


def data(seed=0, n=120, centres=((0, 0), (0.2, 2), (2, 1))):
    random = np.random.RandomState(seed)
    labels = np.arange(n) % len(centres)
    x = np.array(centres)[labels] + random.normal(size=(n, len(centres[0])))
    weights = family_weights(labels, [str(i) for i in range(n)])
    return Data(x=(x - x.mean(axis=0)) / x.std(axis=0), labels=labels, weights=weights)


def differences(found):
    """Return the (3, d) coefficients of the pairwise log likelihood ratios."""
    b = found.slopes
    return np.stack([b[1] - b[0], b[2] - b[0], b[2] - b[1]])


@pytest.mark.parametrize("strength", [0.1, 1.0, 100.0])
def test_without_demands_it_is_scikit_learns_regression(strength):
    given = data(n=119)  # classes of different size
    oracle = LogisticRegression(C=strength, tol=1e-12, max_iter=10_000)
    oracle.fit(given.x, given.labels, sample_weight=given.weights)
    found = fit_multinomial(given, Problem(classes=CLASSES, demands=({}, {}), strength=strength))
    assert found.slopes == pytest.approx(oracle.coef_, abs=1e-5)
    centred = oracle.intercept_ - oracle.intercept_.mean()
    assert found.intercepts == pytest.approx(centred, abs=1e-5)


def test_two_classes_are_the_binary_regression_of_twice_the_strength():
    # Rows of B are +w/2 and -w/2, so |B|^2 is |w|^2 / 2.
    given = data(centres=((0, 0), (1, 1)))
    oracle = LogisticRegression(C=2.0, tol=1e-12, max_iter=10_000)
    oracle.fit(given.x, given.labels, sample_weight=given.weights)
    found = fit_multinomial(given, Problem(classes=CLASSES[:2], demands=({}, {})))
    assert found.slopes[1] - found.slopes[0] == pytest.approx(oracle.coef_[0], abs=1e-5)


def test_a_demand_that_already_holds_changes_nothing():
    given = data()
    free = fit_multinomial(given, Problem(classes=CLASSES, demands=({}, {})))
    asked = {SHORT: "nonnegative", LONG: "nonnegative"}
    assert (differences(free)[:2, 1] > 0).all()
    found = fit_multinomial(given, Problem(classes=CLASSES, demands=({}, asked)))
    assert found.slopes == pytest.approx(free.slopes, abs=1e-8)


@pytest.mark.parametrize(
    "demand", [dict.fromkeys((SHORT, LONG, REST), "nonnegative"), {SHORT: "nonnegative"}]
)
def test_a_demand_against_the_data_holds_at_its_bound(demand):
    # The first score falls with the link; the demand says it may not.
    given = data(centres=((2, 0), (1, 1), (0, 2)))
    found = fit_multinomial(given, Problem(classes=CLASSES, demands=(demand, {})))
    slopes = dict(zip((SHORT, LONG, REST), differences(found)[:, 0], strict=True))
    for pair in demand:
        assert slopes[pair] == pytest.approx(0, abs=1e-9)
    assert (slopes[LONG] < -0.1) == (LONG not in demand)


def test_a_score_that_cannot_speak_has_no_coefficient():
    given = data(centres=((0, 0), (2, 1), (3, 2)))
    found = fit_multinomial(given, Problem(classes=CLASSES, demands=({SHORT: "zero"}, {})))
    short, long, rest = differences(found)[:, 0]
    assert short == pytest.approx(0, abs=1e-12)
    assert long == pytest.approx(rest)
    assert long > 0.1


def test_the_constrained_minimum_is_no_worse_than_its_neighbours():
    given = data(3, centres=((1, 0), (0, 2), (2, 2)))
    demands = ({SHORT: "nonnegative", REST: "nonnegative"}, {LONG: "nonnegative"})
    found = fit_multinomial(given, Problem(classes=CLASSES, demands=demands))

    def cost(slopes, intercepts):
        eta = intercepts + given.x @ slopes.T
        own = eta[np.arange(len(eta)), given.labels]
        fit = (given.weights * (np.log(np.exp(eta).sum(axis=1)) - own)).sum()
        return fit + (slopes**2).sum() / 2

    best = cost(found.slopes, found.intercepts)
    random = np.random.RandomState(0)
    tried = 0
    for step in random.normal(scale=0.01, size=(500, 3, 2)):
        near = found.slopes + step - step.mean(axis=0)
        if near[1, 0] >= near[0, 0] and near[2, 0] >= near[1, 0] and near[2, 1] >= near[0, 1]:
            tried += 1
            assert cost(near, found.intercepts) >= best - 1e-9
    assert tried > 50


def test_a_start_elsewhere_gives_the_same_result():
    given = data()
    problem = Problem(classes=CLASSES, demands=({SHORT: "zero"}, {SHORT: "nonnegative"}))
    found = fit_multinomial(given, problem)
    other = fit_multinomial(data(9), problem)
    again = fit_multinomial(given, problem, other)
    assert again.slopes == pytest.approx(found.slopes, abs=1e-8)
    assert again.intercepts == pytest.approx(found.intercepts, abs=1e-8)


def test_log_likelihoods_by_hand():
    found = fit_multinomial(data(), Problem(classes=CLASSES, demands=({}, {})))
    x = np.array([[0.5, -2.0]])
    expected = found.intercepts + found.slopes @ x[0]
    assert found.log_likelihoods(x)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    "kinds", list(itertools.product(["nonnegative", "zero", None], repeat=3)), ids=str
)
def test_bounds_on_the_basis_make_every_demand_hold(kinds):
    demands = {p: k for p, k in zip((SHORT, LONG, REST), kinds, strict=True) if k}
    if kinds[1] == "zero" and kinds[0] and kinds[2] and "nonnegative" in (kinds[0], kinds[2]):
        with pytest.raises(UndefinedError, match="demanded to be 0"):
            basis(CLASSES, demands)
        return
    found = basis(CLASSES, demands)
    random = np.random.RandomState(0)
    back = np.linalg.pinv(found.differences)
    for draw in random.exponential(size=(20, 2)):
        low_high = [(0, 0) if high == 0 else (low, high) for low, high in found.bounds]
        signs = [1 if low == 0 else random.choice([-1, 1]) for low, _ in low_high]
        values = [
            0 if high == 0 else s * v for s, v, (_, high) in zip(signs, draw, low_high, strict=True)
        ]
        b = back @ np.array(values, dtype=np.float64)
        slopes = {SHORT: b[1] - b[0], LONG: b[2] - b[0], REST: b[2] - b[1]}
        for pair, kind in demands.items():
            assert slopes[pair] >= -1e-12
            assert kind != "zero" or abs(slopes[pair]) < 1e-12


@pytest.mark.parametrize("seed", range(30))
def test_a_score_that_points_the_wrong_way_gets_no_weight(seed):
    # Stronger links have lower scores, and the demand is the opposite: at the minimum the slope
    # is 0 and the intercepts differ by nothing. Reached from a start beside the bound, where the
    # cost is flat to the last digit before its slope is.
    random = np.random.RandomState(seed)
    labels = random.randint(0, 3, size=170)
    x = (-labels + random.normal(size=170))[:, None]
    weights = family_weights(labels, [str(i) for i in range(170)])
    demands = {SHORT: "nonnegative", REST: "nonnegative"}
    problem = Problem(classes=CLASSES, demands=(demands,))
    slopes = np.array([[-0.02], [0.0], [0.02]]) * random.random_sample()
    start = Coefficients(intercepts=random.normal(size=3) * 1e-4, slopes=slopes)
    found = fit_multinomial(Data(x=x, labels=labels, weights=weights), problem, start)
    np.testing.assert_allclose(found.slopes, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.intercepts, 0.0, atol=1e-9)
