"""Random relabellings: every one as likely, by closed forms and chi-square, and plain loops."""

from math import comb

import numpy as np
import pytest
import torch
from scipy.stats import binom, chi2, hypergeom

from auditor.kernels import mmd_permutation
from auditor.kernels.draws import Draws, random_subsets

ALMOST_NEVER = 1e-6
"""Chance of a failure by bad luck, had the seed been another."""


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def labels(seed: int, permutations: int, observed: list[int], blocks: object = None) -> np.ndarray:
    """Return (B, N) of 0 and 1."""
    draws = Draws(seed, permutations, None if blocks is None else np.asarray(blocks))
    drawn = torch.cat(list(draws.labels(torch.tensor(observed, dtype=torch.float32))), dim=1)
    return drawn.numpy().T.astype(int)


@pytest.mark.parametrize(("width", "count"), [(4, 2), (5, 1), (5, 4), (7, 3), (9, 5)])
def test_all_subsets_are_equally_likely(width: int, count: int) -> None:
    drawn = random_subsets(np.random.RandomState(width), 60_000, width, count)
    assert (drawn.sum(1) == count).all()
    codes, counts = np.unique(drawn @ (1 << np.arange(width)), return_counts=True)
    assert len(codes) == comb(width, count)
    expected = np.full(len(codes), 60_000 / len(codes))
    assert chi_square(counts, expected) < chi2.isf(ALMOST_NEVER, len(codes) - 1)


@pytest.mark.parametrize(("width", "count"), [(300, 150), (300, 100), (300, 290), (257, 1)])
def test_each_place_is_marked_with_the_share_and_halves_are_hypergeometric(
    width: int, count: int
) -> None:
    rows = 20_000 if count > 1 else 60_000
    drawn = random_subsets(np.random.RandomState(5), rows, width, count)
    assert (drawn.sum(1) == count).all()
    p = count / width
    # Counts of places: multinomial-like with covariance rows p (1-p) (I - J/width) width/(width-1).
    spread = chi_square(drawn.sum(0), np.full(width, rows * p)) * (width - 1) / width / (1 - p)
    assert chi2.isf(1 - ALMOST_NEVER, width - 1) < spread < chi2.isf(ALMOST_NEVER, width - 1)
    # Marks in the first half, in the even places and in a random set of places.
    sets = (np.arange(width) < width // 2, np.arange(width) % 2 == 0)
    for places in (*sets, np.random.RandomState(1).permutation(width) < width // 3):
        law = hypergeom(width, int(places.sum()), count)
        low, high = int(law.ppf(0.001)), int(law.isf(0.001))
        edges = np.clip((drawn & places).sum(1), low, high)
        weights = law.pmf(np.arange(low, high + 1))
        weights[0], weights[-1] = law.cdf(low), law.sf(high - 1)
        counts = np.bincount(edges - low, minlength=len(weights))
        assert chi_square(counts, rows * weights) < chi2.isf(ALMOST_NEVER, len(weights) - 1)


def test_pairs_of_places_are_marked_together_as_often_as_without_replacement() -> None:
    width, count, rows = 40, 12, 50_000
    drawn = random_subsets(np.random.RandomState(3), rows, width, count).astype(float)
    together = (drawn.T @ drawn)[np.triu_indices(width, 1)]
    p = count * (count - 1) / (width * (width - 1))
    # 780 pairs, each binomial; the largest deviation of them within Bonferroni's bound
    low, high = binom.ppf(ALMOST_NEVER / 780, rows, p), binom.isf(ALMOST_NEVER / 780, rows, p)
    assert low <= together.min() <= together.max() <= high
    assert together.mean() == pytest.approx(rows * p, rel=1e-12)  # each row has count (count-1) / 2


def test_relabellings_of_one_seed_do_not_repeat_and_are_independent() -> None:
    drawn = labels(0, 2000, [1] * 30 + [0] * 30)
    assert len(np.unique(drawn, axis=0)) == 2000
    shared = (drawn[:-1] * drawn[1:]).sum(1)
    # Marks shared by neighbours: hypergeometric, mean 15, variance 30 / 4 * 30 / 59
    sd = (30 / 4 * 30 / 59 / 1999) ** 0.5
    assert shared.mean() == pytest.approx(15.0, abs=5 * sd)


def test_blocks_keep_their_counts_and_choose_alone() -> None:
    # Blocks of 3 with one x, of 2 with one, of 2 with one, of 1: 3 * 2 * 2 relabellings.
    blocks, observed = [7, 4, 7, 1, 1, 4, 7, 9], [0, 0, 1, 1, 0, 1, 0, 1]
    drawn = labels(0, 24_000, observed, blocks)
    for label in set(blocks):
        inside = np.array(blocks) == label
        assert (drawn[:, inside].sum(1) == np.array(observed)[inside].sum()).all()
    codes, counts = np.unique(drawn @ (1 << np.arange(8)), return_counts=True)
    assert len(codes) == 12
    assert chi_square(counts, np.full(12, 2000.0)) < chi2.isf(ALMOST_NEVER, 11)


def test_more_permutations_begin_with_the_same_ones() -> None:
    observed, blocks = [1] * 45 + [0] * 56, np.arange(101) % 3
    for grouping in (None, blocks):
        long = labels(4, 1000, observed, grouping)
        for permutations in (1, 127, 128, 129):
            assert np.array_equal(labels(4, permutations, observed, grouping), long[:permutations])
    long_signs = torch.cat(list(Draws(4, 300, None).signs(13)), dim=1)
    assert torch.equal(torch.cat(list(Draws(4, 100, None).signs(13)), dim=1), long_signs[:, :100])


def test_the_marks_of_a_seed_stay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # By hand from the stream of seed 0: bytes below 128 are marked, then two tries at a time.
    stream = np.random.RandomState(0)
    marked = np.frombuffer(stream.bytes(128 * 4), np.uint8).reshape(128, 4) < 128
    expected = [list(map(bool, row)) for row in marked]
    while wrong := [row for row in range(128) if sum(expected[row]) != 2]:
        tries = stream.randint(0, 4, (len(wrong), 4), dtype=np.uint32)
        for row, places in zip(wrong, tries, strict=True):
            excess = sum(expected[row]) - 2
            last = [p for i, p in enumerate(places) if p not in places[i + 1 :]]
            for place in [p for p in last if expected[row][p] == (excess > 0)][: abs(excess)]:
                expected[row][place] = excess < 0
    assert np.array_equal(labels(0, 128, [1, 1, 0, 0]), np.array(expected))
    # A table of fewer rows at once changes nothing.
    monkeypatch.setattr("auditor.kernels.draws._HELD_AT_ONCE", 1)
    assert np.array_equal(labels(0, 300, [1, 1, 0, 0])[:128], np.array(expected))


def test_signs_are_fair_and_independent() -> None:
    drawn = torch.cat(list(Draws(1, 32_000, None).signs(5)), dim=1).numpy()
    assert set(np.unique(drawn)) == {-1.0, 1.0}
    _, counts = np.unique((drawn > 0).T @ (1 << np.arange(5)), return_counts=True)
    assert len(counts) == 32
    assert chi_square(counts, np.full(32, 1000.0)) < chi2.isf(ALMOST_NEVER, 31)


@pytest.mark.parametrize(("m", "n"), [(130, 130), (90, 161), (3, 2)])
def test_the_null_is_a_plain_float64_loop_over_the_same_draws(m: int, n: int) -> None:
    random = np.random.RandomState(m)
    x, y = random.randn(m, 6), random.randn(n, 6) + 0.1
    found = mmd_permutation(x, y, seed=11, permutations=200, bandwidth=2.0)
    pooled = np.vstack([x, y])
    kernel = np.exp(-((pooled[:, None] - pooled) ** 2).sum(2) / 8.0)
    np.fill_diagonal(kernel, 0.0)

    def statistic(v: np.ndarray) -> float:
        xx, yy = v @ kernel @ v, (1 - v) @ kernel @ (1 - v)
        return float(xx / (m * (m - 1)) + yy / (n * (n - 1)) - 2 * (v @ kernel @ (1 - v)) / (m * n))

    draws = labels(11, 200, [1] * m + [0] * n).astype(float)
    expected = np.array([statistic(v) for v in draws])
    observed = statistic((np.arange(m + n) < m).astype(float))
    np.testing.assert_allclose(found.null, expected, rtol=0, atol=5e-5 * expected.std())
    assert found.statistic == pytest.approx(observed, abs=1e-13)
    assert found.p_value == (1 + np.sum(expected >= observed - 1e-12)) / 201
