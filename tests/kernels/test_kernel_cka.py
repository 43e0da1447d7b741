"""Streaming CKA against the Gram-matrix form, mutual neighbours against brute force."""

import numpy as np
import pytest
import torch

from auditor.errors import InputError, UndefinedError
from auditor.kernels import CkaStream, cka_stream, mutual_knn


def unbiased_hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Return Song et al. 2012, eq. 5, from (n, n) Gram matrices."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    ones = np.ones(n)
    both = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
    cross = 2 * (ones @ k @ l @ ones) / (n - 2)
    return float((np.trace(k @ l) + both - cross) / (n * (n - 3)))


def gram_cka(x: np.ndarray, y: np.ndarray) -> float:
    k, l = x @ x.T, y @ y.T  # noqa: E741
    return unbiased_hsic(k, l) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(l, l))


def related(n: int, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.RandomState(n)
    x = draw.randn(n, 9) * np.linspace(0.2, 2, 9) + offset
    return x, np.tanh(x[:, :6]) + 0.5 * draw.randn(n, 6) - offset


def batches(x: np.ndarray, y: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


@pytest.mark.parametrize(("n", "size"), [(4, 1), (50, 7), (101, 101), (300, 64)])
def test_batches_give_exactly_the_gram_form(n: int, size: int) -> None:
    x, y = related(n)
    assert cka_stream(batches(x, y, size)) == pytest.approx(gram_cka(x, y), rel=1e-9)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    x, y = related(200, offset=100.0)
    centred = gram_cka(x - x.mean(0), y - y.mean(0))
    assert cka_stream(batches(x, y, 32)) == pytest.approx(centred, rel=1e-9)


def test_merged_streams_equal_one_stream_though_their_shifts_differ() -> None:
    x, y = related(120)
    x[60:] += 5.0
    streams = [CkaStream(), CkaStream(), CkaStream()]
    for stream, part in zip(streams, np.split(np.arange(120), [40, 95]), strict=True):
        stream.update(x[part], y[part])
    first, second, third = streams
    second.merge(third)
    empty = CkaStream()
    empty.merge(first)
    empty.merge(second)
    empty.merge(CkaStream())
    assert empty.n == 120
    assert empty.value() == pytest.approx(gram_cka(x, y), rel=1e-9)
    assert third.n == 25


def test_rotation_shift_and_scale_leave_cka_at_one() -> None:
    x, _ = related(80)
    turn, _ = np.linalg.qr(np.random.RandomState(0).randn(9, 9))
    assert cka_stream([(x, 3.0 * x @ turn + 7.0)]) == pytest.approx(1.0, abs=1e-9)


def test_independent_wide_representations_are_near_zero() -> None:
    # The biased estimator is near 1 here (n = 48 < D = 384); the debiased one has mean 0.
    draw = np.random.RandomState(1)
    values = [cka_stream([(draw.randn(48, 384), draw.randn(48, 384))]) for _ in range(8)]
    assert abs(np.mean(values)) < 0.02

    x, y = draw.randn(48, 384), draw.randn(48, 384)
    k, l = (z @ z.T - (z @ z.T).mean(0) for z in (x, y))  # noqa: E741
    k, l = k - k.mean(1, keepdims=True), l - l.mean(1, keepdims=True)  # noqa: E741
    assert np.sum(k * l) / np.sqrt(np.sum(k * k) * np.sum(l * l)) > 0.8


def test_too_few_items_or_no_spread_is_undefined() -> None:
    x, y = related(3)
    with pytest.raises(UndefinedError, match="at least 4 items, found 3"):
        cka_stream([(x, y)])
    with pytest.raises(UndefinedError, match="found 0"):
        cka_stream([])
    x, y = related(20)
    with pytest.raises(UndefinedError, match="does not vary"):
        cka_stream([(x, np.ones((20, 2)))])


def test_batches_that_do_not_fit_are_refused() -> None:
    stream = CkaStream()
    stream.update(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(InputError, match="2 rows and y 1"):
        stream.update(np.zeros((2, 3)), np.zeros((1, 4)))
    with pytest.raises(InputError, match="widths changed"):
        stream.update(np.zeros((2, 3)), np.zeros((2, 5)))
    with pytest.raises(InputError, match="finite"):
        stream.update(np.full((2, 3), np.inf), np.zeros((2, 4)))
    other = CkaStream()
    other.update(np.zeros((2, 3)), np.zeros((2, 5)))
    with pytest.raises(InputError, match="widths"):
        stream.merge(other)


def brute_force_knn(x: np.ndarray, y: np.ndarray, k: int) -> list[float]:
    def neighbours(table: np.ndarray) -> list[set[int]]:
        unit = table / np.linalg.norm(table, axis=1, keepdims=True)
        similarity = unit @ unit.T
        return [
            set(sorted((j for j in range(len(table)) if j != i), key=lambda j: (-row[j], j))[:k])
            for i, row in enumerate(similarity)
        ]

    pairs = zip(neighbours(x), neighbours(y), strict=True)
    return [len(a & b) / k for a, b in pairs]


@pytest.mark.parametrize(("n", "k"), [(30, 1), (30, 5), (600, 10)])
def test_mutual_neighbours_equal_brute_force(n: int, k: int) -> None:
    x, y = related(n)  # 600 rows: two chunks
    found = mutual_knn(x, y, k)
    assert found.shape == (n,)
    assert found.tolist() == pytest.approx(brute_force_knn(x, y, k))


def test_equal_similarities_are_ordered_by_index() -> None:
    # Axis vectors: all similarities are 0, so everyone's 2 neighbours are the lowest other ids.
    x = np.eye(6)
    # y: 0 and 5 are near each other, all others are as in x
    y = np.eye(6)
    y[5, 0] = 0.5
    # id 0: {1, 2} against {5, 1} -> 1/2; id 5: {0, 1} both -> 1; id 3: {0, 1} both -> 1
    assert mutual_knn(x, y, 2)[[0, 5, 3]].tolist() == [0.5, 1.0, 1.0]


def test_self_comparison_is_one_and_k_is_cut_to_the_others() -> None:
    x, _ = related(8)
    assert mutual_knn(x, torch.from_numpy(x), 100).tolist() == [1.0] * 8


def test_unusable_representations_are_refused() -> None:
    x, y = related(8)
    with pytest.raises(InputError, match="8 rows and y 7"):
        mutual_knn(x, y[1:])
    with pytest.raises(InputError, match="k must be"):
        mutual_knn(x, y, 0)
    with pytest.raises(InputError, match="finite"):
        mutual_knn(np.full_like(x, np.nan), y)
    with pytest.raises(UndefinedError, match="at least 2"):
        mutual_knn(x[:1], y[:1])
