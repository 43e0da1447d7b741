"""Shuffles of labels: counts that are known, and all shuffles of small lists one by one."""

from collections import Counter
from itertools import permutations
from math import factorial

import numpy as np
import pytest

from auditor.errors import InputError
from auditor.kernels.shared_labels import agreeing_shuffles, mean_agreement, product, upper_share


def test_different_labels_agree_as_often_as_permutations_have_fixed_points() -> None:
    # The rencontres numbers of n = 4: 9 derangements, 8, 6, 0 and the identity.
    assert agreeing_shuffles("abcd", "dcba") == [9, 8, 6, 0, 1]


def test_label_that_is_everywhere_agrees_in_every_shuffle() -> None:
    # Who says the same to everything cannot be told from its shuffles: p = 1.
    counts = agreeing_shuffles(["7"] * 3, ["7"] * 3)
    assert counts == [0, 0, 0, 6]
    assert upper_share(counts, 3) == 1.0


def test_missing_labels_agree_with_nothing() -> None:
    assert agreeing_shuffles([None, None], [None, None]) == [2]
    assert agreeing_shuffles([None, "a"], ["a", None]) == [1, 1]


@pytest.mark.parametrize("seed", range(6))
def test_counts_are_those_of_all_shuffles(seed: int) -> None:
    rng = np.random.RandomState(seed)
    labels = ["a", "b", "c", None]
    fixed, other = ([labels[i] for i in rng.randint(4, size=6)] for _ in range(2))
    seen = Counter(
        sum(a == b is not None for a, b in zip(fixed, shuffle, strict=True))
        for shuffle in permutations(other)
    )
    counts = agreeing_shuffles(fixed, other)
    assert dict(enumerate(counts)) == {k: seen[k] for k in range(len(counts))}
    assert sum(counts) == factorial(6)
    pairs = sum(a == b is not None for a in fixed for b in other)
    assert mean_agreement(counts) == pytest.approx(pairs / 6)  # each pair meets in 1 of n


def test_strata_are_shuffled_apart() -> None:
    # Two of two in either: 1/2 each, so 1/4 for all four; three of four cannot be.
    pair = agreeing_shuffles("ab", "ab")
    assert pair == [1, 0, 1]
    both = product(pair, pair)
    assert [upper_share(both, k) for k in (4, 3, 2)] == [0.25, 0.25, 0.75]


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="2 labels cannot be compared with 1"):
        agreeing_shuffles("ab", "a")
