"""The table of debiased CKA equals the streamed value of each pair."""

import numpy as np
import pytest
import torch

from auditor.errors import InputError, UndefinedError
from auditor.kernels import cka_stream, pairwise_cka, u_centred_gram


def rows(seed, width, n=23):
    return np.random.RandomState(seed).normal(size=(n, width)) + 3.0


def test_table_equals_the_stream_of_each_pair():
    base = rows(0, 5)
    ours = [base, rows(1, 7)]
    theirs = [2.0 * base + 1.0, rows(2, 3), base + 0.5 * rows(3, 5)]
    table = pairwise_cka([u_centred_gram(x) for x in ours], [u_centred_gram(y) for y in theirs])
    expected = [[cka_stream([(x, y)]) for y in theirs] for x in ours]
    assert table.shape == (2, 3)
    np.testing.assert_allclose(table.numpy(), expected, atol=1e-12)
    assert table[0, 0] == pytest.approx(1.0, abs=1e-12)


def test_rows_of_a_u_centred_matrix_sum_to_zero():
    centred = u_centred_gram(rows(4, 6))
    assert torch.diagonal(centred).abs().max() == 0.0
    assert centred.sum(dim=0).abs().max() < 1e-10


@pytest.mark.parametrize(
    ("table", "error", "reason"),
    [
        (np.ones((3, 2)), UndefinedError, "at least 4 items, found 3"),
        (np.ones((9, 2)), UndefinedError, "do not vary"),
        (np.eye(9)[:, :1], UndefinedError, "do not vary"),
        (np.full((9, 2), np.nan), InputError, "finite"),
        (np.ones(9), InputError, r"\(n, D\)"),
    ],
    ids=["three", "constant", "all but one equal", "nan", "vector"],
)
def test_bad_rows_are_refused(table, error, reason):
    with pytest.raises(error, match=reason):
        u_centred_gram(table)


def test_matrices_of_different_sizes_are_refused():
    with pytest.raises(InputError, match="one size"):
        pairwise_cka([u_centred_gram(rows(0, 2, n=8))], [u_centred_gram(rows(0, 2, n=9))])
