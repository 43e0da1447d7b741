"""Mutual nearest neighbours: do two representations put the same items side by side?

Huh et al. 2405.07987, appendix A, in chunks: neither an (n, n) table nor a full sort.
"""

import torch
from torch import Tensor

from auditor.errors import InputError, UndefinedError
from auditor.kernels.order import first_ids
from auditor.kernels.products import product
from auditor.types import Array

_CHUNK = 512
"""Rows of the similarity table that exist at once."""


def mutual_knn(x: Array | Tensor, y: Array | Tensor, k: int = 10) -> Array:
    """Return (n,) share of each item's k nearest neighbours in x that are so in y, in [0, 1].

    Cosine similarity in float32; equal similarities are ordered by index. The item itself does not
    count; a zero vector is similar to nothing (cosine 0). By chance the mean is k / (n - 1).

    Args:
        x: (n, Dx).
        y: (n, Dy), row i for the same item as in x.
        k: neighbours; at most n - 1 are used.

    Raises:
        InputError: shapes do not fit, k is below 1, a value is not finite.
        UndefinedError: fewer than two items.
    """
    a, b = _unit_rows("x", x), _unit_rows("y", y)
    if a.shape[0] != b.shape[0]:
        raise InputError(f"x has {a.shape[0]} rows and y {b.shape[0]}")
    if k < 1:
        raise InputError(f"k must be at least 1, found {k}")
    if a.shape[0] < 2:
        raise UndefinedError(f"neighbours need at least 2 items, found {a.shape[0]}")
    k = min(k, int(a.shape[0]) - 1)
    shares = [
        _shared(_neighbours(a, start, k), _neighbours(b, start, k))
        for start in range(0, int(a.shape[0]), _CHUNK)
    ]
    return torch.cat(shares).cpu().numpy()


def _shared(ids_a: Tensor, ids_b: Tensor) -> Tensor:
    return (ids_a[:, :, None] == ids_b[:, None, :]).any(2).double().mean(1)  # (R, k, k) -> (R,)


def _neighbours(unit: Tensor, start: int, k: int) -> Tensor:
    """Return (R, k) ids of the nearest other rows for the chunk of rows from `start`."""
    similarity = product(unit[start : start + _CHUNK], unit)  # (R, n)
    similarity.diagonal(offset=start).fill_(float("-inf"))
    return first_ids(similarity, k).ids


def _unit_rows(name: str, rows: Array | Tensor) -> Tensor:
    table = torch.as_tensor(rows).detach().float()
    if table.ndim != 2:
        raise InputError(f"{name} must be (n, D), found shape {tuple(table.shape)}")
    if not bool(torch.isfinite(table).all()):
        raise InputError(f"{name} must be finite")
    return torch.nn.functional.normalize(table, dim=1, eps=1e-30)
