"""Permutation tests against slow loops and closed forms."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from auditor.errors import InputError
from auditor.kernels import energy_permutation, mmd_permutation, paired_sign_test


def clouds(m: int, n: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.RandomState(m * 100 + n)
    return draw.randn(m, 5), draw.randn(n, 5) + shift


def unbiased_statistic(kernel: np.ndarray, is_x: np.ndarray) -> float:
    """Return mean k(x, x') + mean k(y, y') - 2 mean k(x, y) over distinct points, by loops."""
    x, y = np.flatnonzero(is_x), np.flatnonzero(~is_x)

    def mean(rows: np.ndarray, columns: np.ndarray) -> float:
        return float(np.mean([kernel[i, j] for i in rows for j in columns if i != j]))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def gaussian(points: np.ndarray, bandwidth: float) -> np.ndarray:
    return np.exp(-cdist(points, points, "sqeuclidean") / (2 * bandwidth**2))


def test_mmd_statistic_is_that_of_a_loop() -> None:
    x, y = clouds(6, 9, 0.5)
    kernel = gaussian(np.vstack([x, y]), 1.7)
    expected = unbiased_statistic(kernel, np.arange(15) < 6)
    found = mmd_permutation(x, y, seed=0, permutations=10, bandwidth=1.7)
    assert found.statistic == pytest.approx(expected, abs=1e-12)
    assert found.bandwidth == 1.7


def test_energy_statistic_is_that_of_a_loop() -> None:
    x, y = clouds(7, 5, 0.5)
    pooled = np.vstack([x, y])
    expected = unbiased_statistic(-cdist(pooled, pooled), np.arange(12) < 7)
    found = energy_permutation(x, y, seed=0, permutations=10)
    assert found.statistic == pytest.approx(expected, abs=1e-12)
    assert found.bandwidth is None


def test_the_median_distance_is_the_default_bandwidth() -> None:
    x, y = clouds(6, 9)
    pooled = np.vstack([x, y])
    distances = cdist(pooled, pooled)[np.triu_indices(15, 1)]
    found = mmd_permutation(x, y, seed=0, permutations=5)
    assert found.bandwidth == pytest.approx(np.median(distances))


@pytest.mark.parametrize("test", [mmd_permutation, energy_permutation])
def test_the_null_is_that_of_all_splits(test) -> None:  # type: ignore[no-untyped-def]
    # 3 + 4 points have 35 splits; every drawn value is one of them, and p tends to the exact one.
    x, y = clouds(3, 4, 1.5)
    pooled = np.vstack([x, y])
    kernel = gaussian(pooled, 2.0) if test is mmd_permutation else -cdist(pooled, pooled)
    every = []
    for chosen in combinations(range(7), 3):
        is_x = np.isin(np.arange(7), chosen)
        every.append(unbiased_statistic(kernel, is_x))
    assert len(every) == comb(7, 3)
    options = {"bandwidth": 2.0} if test is mmd_permutation else {}
    found = test(x, y, seed=3, permutations=4000, **options)
    nearest = np.abs(found.null[:, None] - np.array(every)).min(1)
    assert nearest.max() < 1e-6
    exact = np.mean(np.array(every) >= every[0] - 1e-12)
    # binomial sd of the drawn share is at most 0.008; five of them
    assert found.p_value == pytest.approx(exact, abs=0.04)


def test_p_is_the_share_of_the_null_and_never_zero() -> None:
    x, y = clouds(40, 40, 3.0)
    found = mmd_permutation(x, y, seed=1, permutations=99)
    assert found.p_value == 1 / 100  # far beyond every relabelling
    assert found.null.shape == (99,)
    same = mmd_permutation(x, x, seed=1, permutations=99)
    expected = (1 + np.sum(same.null >= same.statistic)) / 100
    assert same.p_value == pytest.approx(expected)
    assert same.p_value > 0.5


def test_ties_with_the_observed_value_count_as_at_least_as_extreme() -> None:
    # All points equal: every relabelling gives the same statistic, so p = 1.
    x = np.ones((50, 3), dtype=np.float32)
    for test in (mmd_permutation, energy_permutation, paired_sign_test):
        assert test(x, x, seed=0, permutations=200).p_value == 1.0
    # Two clouds of duplicates: 2 of the comb(8, 4) = 70 splits are as extreme (the swap is one).
    x, y = np.zeros((4, 2)), np.ones((4, 2))
    found = energy_permutation(x, y, seed=0, permutations=7000)
    assert found.p_value == pytest.approx(2 / 70, abs=0.01)


def test_blocks_keep_labels_within_a_prompt() -> None:
    # Each block holds one x and one y, so a relabelling picks one of two per block: 2^3 values.
    x, y = clouds(3, 3, 1.0)
    pooled, blocks = np.vstack([x, y]), np.array([0, 1, 2, 0, 1, 2])
    kernel = -cdist(pooled, pooled)
    every = []
    for bits in range(8):
        is_x = np.array([bool(bits >> i & 1) for i in range(3)])
        every.append(unbiased_statistic(kernel, np.concatenate([is_x, ~is_x])))
    found = energy_permutation(x, y, seed=2, permutations=300, blocks=blocks)
    assert np.abs(found.null[:, None] - np.array(every)).min(1).max() < 1e-6
    assert len(np.unique(found.null.round(6))) == len(np.unique(np.round(every, 6)))


def test_paired_test_is_that_of_a_loop_over_swaps() -> None:
    x, y = clouds(5, 5, 0.8)
    n, sigma = 5, 1.5

    def k(u: np.ndarray, v: np.ndarray) -> float:
        return float(np.exp(-np.sum((u - v) ** 2) / (2 * sigma**2)))

    def statistic(left: np.ndarray, right: np.ndarray) -> float:
        total = sum(
            k(left[i], left[j])
            + k(right[i], right[j])
            - k(left[i], right[j])
            - k(left[j], right[i])
            for i in range(n)
            for j in range(n)
            if i != j
        )
        return total / (n * (n - 1))

    every = []
    for bits in range(2**n):
        swap = np.array([bool(bits >> i & 1) for i in range(n)])[:, None]
        every.append(statistic(np.where(swap, y, x), np.where(swap, x, y)))
    found = paired_sign_test(x, y, seed=0, permutations=3000, bandwidth=sigma)
    assert found.statistic == pytest.approx(every[0], abs=1e-12)
    assert np.abs(found.null[:, None] - np.array(every)).min(1).max() < 1e-6
    assert found.p_value == pytest.approx(np.mean(np.array(every) >= every[0] - 1e-12), abs=0.05)


def test_draws_depend_on_the_seed_alone() -> None:
    x, y = clouds(30, 20)
    first, again = (mmd_permutation(x, y, seed=7, permutations=50) for _ in range(2))
    assert np.array_equal(first.null, again.null)
    longer = mmd_permutation(x, y, seed=7, permutations=80)
    np.testing.assert_allclose(longer.null[:50], first.null, rtol=0, atol=1e-7)
    assert not np.allclose(mmd_permutation(x, y, seed=8, permutations=50).null, first.null)


def test_p_values_are_uniform_when_nothing_differs() -> None:
    draw = np.random.RandomState(0)
    p = [
        mmd_permutation(draw.randn(12, 3), draw.randn(15, 3), seed=i, permutations=39).p_value
        for i in range(120)
    ]
    # Exact test: P(p <= 0.1) = 0.1; sd over 120 tests is 0.027
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.08)


def test_unusable_points_are_refused_by_name() -> None:
    x, y = clouds(5, 4)
    with pytest.raises(InputError, match="x must be at least 2 rows"):
        mmd_permutation(x[:1], y, seed=0)
    with pytest.raises(InputError, match="width 4 and y 5"):
        energy_permutation(x[:, :4], y, seed=0)
    with pytest.raises(InputError, match="finite"):
        energy_permutation(np.full_like(x, np.nan), y, seed=0)
    with pytest.raises(InputError, match="equal counts"):
        paired_sign_test(x, y, seed=0)
    with pytest.raises(InputError, match="bandwidth"):
        mmd_permutation(x, y, seed=0, bandwidth=0.0)
    with pytest.raises(InputError, match="permutations"):
        mmd_permutation(x, y, seed=0, permutations=0)
    with pytest.raises(InputError, match="blocks"):
        mmd_permutation(x, y, seed=0, blocks=np.zeros(3))
