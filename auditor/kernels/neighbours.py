"""Mutual nearest neighbours: do two representations put the same items side by side?

Huh et al. 2405.07987, appendix A, in chunks: neither an (n, n) table nor a full sort, and of the
representations themselves only some rows at once.
"""

from typing import Protocol

import torch
from torch import Tensor

from auditor.errors import InputError, UndefinedError
from auditor.kernels.order import Ordered, first_ids
from auditor.kernels.products import product
from auditor.types import Array

_CHUNK = 512
"""Rows of the similarity table that exist at once."""
_COLUMNS = 8192
"""Columns of it that exist at once."""


class Table(Protocol):
    """(n, D) rows: an array, a tensor, or what computes the rows that are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, D)."""
        ...

    def __getitem__(self, rows: slice, /) -> Array | Tensor:
        """Return neighbouring rows."""
        ...


def mutual_knn(x: Table, y: Table, k: int = 10) -> Array:
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
    for name, table in (("x", x), ("y", y)):
        if len(table.shape) != 2:
            raise InputError(f"{name} must be (n, D), found shape {tuple(table.shape)}")
    count = int(x.shape[0])
    if count != y.shape[0]:
        raise InputError(f"x has {count} rows and y {y.shape[0]}")
    if k < 1:
        raise InputError(f"k must be at least 1, found {k}")
    if count < 2:
        raise UndefinedError(f"neighbours need at least 2 items, found {count}")
    k = min(k, count - 1)
    pairs = zip(_neighbours("x", x, k), _neighbours("y", y, k), strict=True)
    return torch.cat([_shared(ours, theirs) for ours, theirs in pairs]).cpu().numpy()


def _shared(ids_a: Tensor, ids_b: Tensor) -> Tensor:
    return (ids_a[:, :, None] == ids_b[:, None, :]).any(2).double().mean(1)  # (R, k, k) -> (R,)


def _neighbours(name: str, table: Table, k: int) -> list[Tensor]:
    """Return (R, k) ids of the nearest other rows for each chunk of rows in turn."""
    count = int(table.shape[0])
    found: list[Ordered | None] = [None] * -(-count // _CHUNK)
    for first in range(0, count, _COLUMNS):
        columns = _unit_rows(name, table[first : first + _COLUMNS])
        for chunk, nearest in enumerate(found):
            start = chunk * _CHUNK
            inside = first <= start < first + len(columns)  # _COLUMNS are whole chunks
            rows = (
                columns[start - first : start - first + _CHUNK]
                if inside
                else _unit_rows(name, table[start : start + _CHUNK])
            )
            similarity = product(rows, columns)  # (R, C)
            if inside:
                similarity.diagonal(offset=start - first).fill_(float("-inf"))
            found[chunk] = _nearer(nearest, first_ids(similarity, k), first, k)
    return [nearest.ids for nearest in found if nearest is not None]


def _nearer(before: Ordered | None, more: Ordered, first: int, k: int) -> Ordered:
    """Return the first k of those known and of `more`, whose ids count from `first`."""
    ids = more.ids + first
    if before is None:
        return Ordered(ids, more.logits)
    ids = torch.cat([before.ids, ids], 1)
    # Stable: of equal similarities those of the lower columns come first, as they lie here.
    logits, order = torch.cat([before.logits, more.logits], 1).sort(
        dim=1, descending=True, stable=True
    )
    return Ordered(ids.gather(1, order)[:, :k], logits[:, :k])


def _unit_rows(name: str, rows: Array | Tensor) -> Tensor:
    table = torch.as_tensor(rows).detach().float()
    if not bool(torch.isfinite(table).all()):
        raise InputError(f"{name} must be finite")
    return torch.nn.functional.normalize(table, dim=1, eps=1e-30)
