"""Debiased linear CKA of every pair out of two lists, from one Gram matrix each.

The unbiased HSIC of Song et al. 2012 is an inner product of U-centred matrices (Székely & Rizzo
2014, section 2), so L x L' values cost L + L' Gram matrices and one product. `cka_stream` gives the
same number for one pair without an (n, n) matrix.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from auditor.errors import InputError, UndefinedError
from auditor.types import Array

_NO_SPREAD = 1e-12


def u_centred_gram(rows: Array | Tensor) -> Tensor:
    """Return the U-centred linear Gram matrix (n, n) of (n, D) rows, float64, zero diagonal.

    Raises:
        InputError: not a table, or a value is not finite.
        UndefinedError: fewer than 4 rows, or nothing is left: the rows do not vary.
    """
    table = torch.as_tensor(rows).detach().double()
    if table.ndim != 2 or not bool(torch.isfinite(table).all()):
        raise InputError(f"the rows must be finite (n, D), found shape {tuple(table.shape)}")
    n = table.shape[0]
    if n < 4:
        raise UndefinedError(f"debiased CKA needs at least 4 items, found {n}")
    table = table - table.mean(dim=0)
    gram = (table @ table.T).fill_diagonal_(0.0)
    size = gram.square().sum()
    sums = gram.sum(dim=0)
    centred = gram - (sums[:, None] + sums[None, :]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    centred.fill_diagonal_(0.0)
    if not bool(centred.square().sum() > _NO_SPREAD * size):
        raise UndefinedError("the rows do not vary over the items: CKA has no value")
    return centred


def pairwise_cka(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Return (L, L') debiased CKA between two lists of U-centred Gram matrices, in [-1, 1].

    Raises:
        InputError: the matrices are not all of one size.
    """
    if len({matrix.shape for matrix in (*ours, *theirs)}) != 1:
        raise InputError("the Gram matrices are not all of one size")
    a, b = (torch.stack([_unit(matrix) for matrix in side]) for side in (ours, theirs))
    return (a @ b.T).clamp(-1.0, 1.0)  # Cauchy-Schwarz; rounding may pass it


def _unit(matrix: Tensor) -> Tensor:
    flat = matrix.flatten()
    return flat / flat.norm()
