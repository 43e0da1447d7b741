"""Swap tests against relabelled discrepancies, all of them."""

import itertools

import numpy as np

from auditor.kernels.swaps import hamming_h, swapped_sums


def test_h_of_two_pairs_by_hand():
    # x = ab, cb; y = ad, cd. Equal symbols: x1 x2 1 (b), y1 y2 1 (d), x1 y2 0, y1 x2 0: H = 2.
    x, y = np.array([[0, 1], [2, 1]]), np.array([[0, 3], [2, 3]])
    assert hamming_h(x, y).tolist() == [[0.0, 2.0], [2.0, 0.0]]


def discrepancy(x, y):
    """Return n (n - 1) times the unbiased squared MMD without the partners' terms, by loops."""
    n = len(x)
    k = lambda a, b: float((a == b).sum())  # noqa: E731
    return sum(
        k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(y[i], x[j])
        for i, j in itertools.permutations(range(n), 2)
    )


def test_signs_are_swaps_of_partners():
    random = np.random.RandomState(1)
    x, y = random.randint(0, 3, size=(2, 4, 7))
    signs = np.array(list(itertools.product([-1, 1], repeat=4)), dtype=np.int8)
    expected = []
    for row in signs:
        swapped = (row < 0)[:, None]
        expected.append(discrepancy(np.where(swapped, y, x), np.where(swapped, x, y)))
    found = swapped_sums(hamming_h(x, y), signs)
    assert found.tolist() == expected  # integers: equal, not only close


def test_equal_replies_leave_nothing():
    x = np.random.RandomState(2).randint(0, 3, size=(5, 6))
    assert not hamming_h(x, x).any()
    assert swapped_sums(hamming_h(x[:0], x[:0]), np.ones((3, 0), np.int8)).tolist() == [0.0] * 3
