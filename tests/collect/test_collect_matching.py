"""Pairs of rows by optimal assignment: against brute force, and without a bias from ties."""

import itertools

import numpy as np
import pytest

from auditor.collect.matching import partners, without_common
from auditor.errors import UndefinedError


def random(seed, *shape):
    return np.random.RandomState(seed).normal(size=shape)


def cosines(a, b):
    return (b / np.linalg.norm(b, axis=1, keepdims=True)) @ (
        a / np.linalg.norm(a, axis=1, keepdims=True)
    ).T


@pytest.mark.parametrize("signed", [True, False])
def test_pairs_have_the_largest_sum(signed):
    a, b = random(0, 5, 4), random(1, 5, 4)
    found = partners(a, b, seed=0, signed=signed)
    table = cosines(a, b)
    score = table if signed else np.abs(table)
    best = max(itertools.permutations(range(5)), key=lambda p: score[np.arange(5), list(p)].sum())
    assert found.theirs.tolist() == list(range(5))
    assert found.ours.tolist() == list(best)
    np.testing.assert_allclose(found.cosine, table[np.arange(5), list(best)], atol=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(3, 6), (6, 3)])
def test_shorter_table_is_paired_whole(ours, theirs):
    a = random(2, 6, 5)
    found = partners(a[:ours], a[:theirs], seed=1)
    assert found.ours.tolist() == found.theirs.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.cosine, 1.0)


def test_seed_changes_nothing_but_ties():
    a, b = random(3, 9, 6), random(4, 9, 6)
    assert all(
        np.array_equal(partners(a, b, seed=seed).ours, partners(a, b, seed=0).ours)
        for seed in range(1, 5)
    )
    silent = np.zeros((200, 3))
    found = partners(silent, silent, seed=0)
    assert (found.cosine == 0.0).all()
    # In file order all 200 would be their own partners; by chance about one is.
    assert (found.ours == found.theirs).sum() < 8


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(UndefinedError, match="NaN or infinite"):
        partners(np.full((3, 2), np.inf), np.ones((3, 2)), seed=0)


def test_what_both_tables_share_is_left_out():
    # Rows along one shared direction, with a little of their own across it.
    direction = np.eye(8)[0]
    ours = 10.0 * direction + random(5, 6, 8)
    theirs = 10.0 * direction + random(6, 6, 8)
    a, b = without_common(ours, theirs, 1)
    assert np.abs(cosines(ours, theirs)).min() > 0.8
    assert np.abs(cosines(a, b)).max() < 0.95
    assert np.linalg.norm(a @ direction) < 0.2 * np.linalg.norm(a)
    # At most a quarter of the columns is taken.
    assert np.linalg.matrix_rank(without_common(random(7, 30, 8), random(8, 30, 8), 5)[0]) == 6
