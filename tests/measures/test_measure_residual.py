import numpy as np
import pytest
from measure_worlds import probes, small_pair

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._residual import SPLITS, halves
from auditor.outputs import POSITION
from auditor.panel import Control

CORRELATION = get("residual-correlation")


def rows(ours, theirs):
    made = np.zeros(len(ours), dtype=POSITION)
    made["logp_a"], made["logp_b"] = ours, theirs
    return made


def pair_with(ours, theirs, controls, families=None):
    pool = tuple(
        Control(name=f"c{i}", role="independent", family=family, positions=rows(ours, control))
        for i, (control, family) in enumerate(
            zip(controls, families or [f"f{i}" for i in range(len(controls))], strict=True)
        )
    )
    return small_pair(positions=rows(ours, theirs), pool=pool, asked=probes(1))


def test_a_worked_example():
    # Controls that agree leave r_R = (0, 1, 2) - 1 and r_S = (0, 2, 1) - 1 in every division:
    # covariance of (-1, 0, 1) and (-1, 1, 0) = 1, variances 2 and 2: 1/2.
    pair = pair_with([-3.0, -2.0, -1.0], [-3.0, -1.0, -2.0], [[-2.0] * 3] * 4)
    assert CORRELATION(pair) == pytest.approx(0.5, abs=1e-12)


def test_a_worked_example_with_controls_that_differ():
    # Reference and suspect expect the same, centred (-1, -1, 2). Controls a = (1, 0, 0), b = -a,
    # c = (0, 1, -1), d = -c, around one level; the residuals of each division, centred:
    # ab | cd: both means are level, so both residuals are (-1, -1, 2): correlation 1
    # ac | bd: means m = (1, 1, -1)/2 and -m, m centred (1, 1, -2)/3:
    #   r_R = (-4, -4, 8)/3 and r_S = (-2, -2, 4)/3, parallel: 1
    # ad | bc: m = (1, -1, 1)/2, centred (1, -2, 1)/3: r_R = (-4, -1, 5)/3, r_S = (-2, -5, 7)/3:
    #   (8 + 5 + 35) / sqrt((16 + 1 + 25) (4 + 25 + 49)) = 48 / sqrt(42 * 78)
    # and the mean of the three, each also with its halves exchanged
    a, c = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, -1.0])
    own = np.array([0.0, 0.0, 3.0])
    pair = pair_with(own - 9, own - 9, [a - 9, -a - 9, c - 9, -c - 9])
    expected = (1 + 1 + 48 / np.sqrt(42 * 78)) / 3
    assert CORRELATION(pair) == pytest.approx(expected, abs=1e-12)


def test_one_pool_for_both_would_correlate_independent_models_and_two_halves_do_not():
    # Independent standard normal log-probabilities, 4 controls: r_R and r_S share the mean of 4
    # controls, variance 1/4 of 1 + 1/4: correlation 1/5 = 1/(K + 1).
    random = np.random.RandomState(4)
    ours, theirs, *controls = random.normal(size=(6, 20_000)) - 5
    shared = np.corrcoef(ours - np.mean(controls, axis=0), theirs - np.mean(controls, axis=0))[0, 1]
    assert shared == pytest.approx(0.2, abs=0.03)
    assert CORRELATION(pair_with(ours, theirs, controls)) == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize(("families", "divisions"), [(4, 6), (5, 20), (6, 20), (9, SPLITS)])
def test_divisions_are_fixed_disjoint_and_exchanged(families, divisions):
    names = tuple(f"f{i}" for i in range(families))
    found = halves(names)
    assert found.shape == (divisions, families)
    assert {tuple(row) for row in found} == {tuple(~row) for row in found}
    sizes = found.sum(axis=1)
    assert np.isin(sizes, [families // 2, families - families // 2]).all()
    np.testing.assert_array_equal(found, halves(names))
    # who is in a division depends on the names, not on their order
    order = np.array([2, 0, 3, 1, *range(4, families)])
    np.testing.assert_array_equal(halves(tuple(names[i] for i in order)), found[:, order])


def test_a_family_is_never_in_both_halves():
    found = halves(("a", "b", "a", "c", "d", "a"))
    np.testing.assert_array_equal(found[:, 0], found[:, 2])
    np.testing.assert_array_equal(found[:, 0], found[:, 5])


@pytest.mark.parametrize("families", [None, ["f0", "f1", "f2", "f2"]])
def test_too_few_families_are_undefined(families):
    count = 3 if families is None else 4
    controls = np.random.RandomState(0).normal(size=(count, 6))
    with pytest.raises(UndefinedError, match=r"\b3\b.*4"):
        CORRELATION(pair_with(np.zeros(6), np.zeros(6), controls, families))


def test_a_position_that_excludes_the_token_is_left_out():
    random = np.random.RandomState(1)
    values = random.normal(size=(6, 9)) - 4
    expected = CORRELATION(pair_with(values[0, 1:], values[1, 1:], values[2:, 1:]))
    for model in (0, 1, 4):
        lacking = values.copy()
        lacking[model, 0] = np.nan if model == 1 else -np.inf
        found = CORRELATION(pair_with(lacking[0], lacking[1], lacking[2:]))
        assert found == pytest.approx(expected, abs=1e-12)


def test_a_model_that_never_departs_from_the_controls_is_undefined():
    level = [-2.0, -2.0, -2.0]
    with pytest.raises(UndefinedError, match="never departs"):
        CORRELATION(pair_with([-1.0, -2.0, -3.0], level, [level] * 4))
