import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from auditor.measures._simplex import simplex_projection, simplex_weights


def test_worked_projections():
    # (1, 0.5): 0.25 off each leaves (0.75, 0.25). (3, 0, 0): 2 off the first, the others stay 0.
    # A point of the simplex is its own projection.
    points = np.array([[1.0, 0.5, -9.0], [3.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    expected = [[0.75, 0.25, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]]
    np.testing.assert_allclose(simplex_projection(points), expected, atol=1e-15)


def test_one_candidate_takes_all():
    np.testing.assert_array_equal(simplex_weights(np.array([[[2.0]]]), np.array([[5.0]])), [[1.0]])


def test_the_middle_of_two_is_half_of_each():
    # columns (1, 0) and (0, 1), target (0.5, 0.5)
    weights = simplex_weights(np.eye(2)[None], np.array([[0.5, 0.5]]))
    np.testing.assert_allclose(weights, [[0.5, 0.5]], atol=1e-12)


def test_a_target_outside_is_met_at_the_border():
    # columns (1, 0), (0, 1), target (2, 0): the nearest mixture is the first column alone
    np.testing.assert_allclose(
        simplex_weights(np.eye(2)[None], np.array([[2.0, 0.0]])), [[1.0, 0.0]], atol=1e-12
    )


def test_without_any_information_all_weigh_the_same():
    np.testing.assert_array_equal(
        simplex_weights(np.zeros((1, 4, 4)), np.zeros((1, 4))), np.full((1, 4), 0.25)
    )


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_general_solvers(seed):
    random = np.random.RandomState(seed)
    columns, target = random.normal(size=(40, 7)), random.normal(size=40)
    columns += 2 * random.normal(size=(40, 1))  # correlated, as scorers are
    found = simplex_weights((columns.T @ columns)[None], (columns.T @ target)[None])[0]
    general = minimize(
        lambda w: ((target - columns @ w) ** 2).sum(),
        np.full(7, 1 / 7),
        bounds=[(0, 1)] * 7,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 300},
    ).x
    # the sum constraint as one row of great weight
    penalised, _ = nnls(np.vstack([columns, np.full(7, 1e5)]), np.append(target, 1e5))
    np.testing.assert_allclose(found, general, atol=1e-5)
    np.testing.assert_allclose(found, penalised, atol=1e-5)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)


def test_problems_solved_together_are_solved_as_if_alone():
    random = np.random.RandomState(9)
    rows = random.normal(size=(5, 30, 6))
    gram, target = rows.transpose(0, 2, 1) @ rows, random.normal(size=(5, 6))
    alone = [simplex_weights(gram[i : i + 1], target[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(simplex_weights(gram, target), alone, atol=1e-12)


def test_two_equal_columns_fit_as_well_as_one():
    random = np.random.RandomState(10)
    columns, target = random.normal(size=(30, 3)), random.normal(size=30)
    doubled = columns[:, [0, 1, 2, 2]]
    one, two = (
        x @ simplex_weights((x.T @ x)[None], (x.T @ target)[None])[0] for x in (columns, doubled)
    )
    np.testing.assert_allclose(one, two, atol=1e-8)


def test_no_problem_has_no_weights():
    assert simplex_weights(np.zeros((0, 3, 3)), np.zeros((0, 3))).shape == (0, 3)
