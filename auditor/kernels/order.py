"""The one order of token ids: larger logit first, then lower id. Exact, whatever ties there are.

`torch.topk` and `torch.sort` leave the order of equal values open, and half-precision logits tie
at every position. Candidates come from blocks of columns: under this order the k blocks with the
best first element hold all of the k best ids (kernels.md 2.4), so one cheap pass of block maxima
replaces a selection over the whole row. Where equal values straddle the k-th place, value and id
are packed into one integer, which has no ties.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 32
"""Columns per block: k blocks of candidates and V / BLOCK maxima are both small."""


@dataclass(frozen=True, slots=True, eq=False)
class Ordered:
    """The first k ids of each row with their logits, both (R, k)."""

    ids: Tensor
    logits: Tensor
    """Float32, or float64 for a float64 table."""


def first_ids(table: Tensor, k: int) -> Ordered:
    """Return the first min(k, V) ids of each row of a (R, V) table without NaN; k >= 1."""
    return first_ids_of((table,), k)[0]


def first_ids_of(tables: tuple[Tensor, ...], k: int) -> tuple[Ordered, ...]:
    """Return `first_ids` of tables of one shape; together, as each small step has a fixed cost."""
    width = int(tables[0].shape[1])
    k = min(k, width)
    if torch.float64 in {table.dtype for table in tables}:
        return tuple(_sorted_ids(table, k) for table in tables)
    tables = tuple(table.float() for table in tables)
    if k * BLOCK * 2 > width:
        return _split(_first_places(torch.cat(tables), k), tables)
    blocks = _first_set(torch.cat([_block_maxima(table) for table in tables]), k)  # (n R, k)
    ids = _columns(blocks.sort(1).values, width)
    parts = torch.chunk(ids, len(tables))
    candidates = torch.cat([t.gather(1, part) for t, part in zip(tables, parts, strict=True)])
    return _split(ids.gather(1, _first_places(candidates, k)), tables)


def _sorted_ids(table: Tensor, k: int) -> Ordered:
    """Return the first ids by a full sort: beside a 64-bit value there is no room for the id."""
    logits, ids = torch.sort(table, dim=1, descending=True, stable=True)
    return Ordered(ids[:, :k], logits[:, :k])


def _split(ids: Tensor, tables: tuple[Tensor, ...]) -> tuple[Ordered, ...]:
    parts = torch.chunk(ids, len(tables))
    return tuple(Ordered(part, t.gather(1, part)) for t, part in zip(tables, parts, strict=True))


def _columns(blocks: Tensor, width: int) -> Tensor:
    """Return the columns of ascending blocks (R, k), then those after the last whole block.

    Ascending, so that among equal logits the lower place is the lower id.
    """
    inside = torch.arange(BLOCK, device=blocks.device)
    ids = (blocks[:, :, None] * BLOCK + inside).flatten(1)  # (R, k * BLOCK)
    rest = torch.arange(width // BLOCK * BLOCK, width, device=blocks.device)
    return torch.cat([ids, rest.expand(len(ids), -1)], 1) if len(rest) else ids


def _block_maxima(table: Tensor) -> Tensor:
    """Return (R, V // BLOCK) largest logit of each whole block of columns."""
    blocks = table.shape[1] // BLOCK
    return table[:, : blocks * BLOCK].view(-1, blocks, BLOCK).amax(2)


def _first_places(values: Tensor, k: int) -> Tensor:
    """Return (R, k) columns of the k largest float32 values, equal ones by column."""
    top = _first_set(values, k)
    chosen = values.gather(1, top)
    return top.gather(1, _keys(chosen, top).sort(1, descending=True).indices)


def _first_set(values: Tensor, k: int) -> Tensor:
    """Return the same columns in any order."""
    top = values.topk(k, dim=1, sorted=False)
    least = top.values.amin(1, keepdim=True)
    if int(torch.count_nonzero(values >= least)) == k * len(values):
        return top.indices
    columns = torch.arange(values.shape[1], device=values.device)
    return _keys(values, columns).topk(k, dim=1, sorted=False).indices


def _keys(values: Tensor, columns: Tensor) -> Tensor:
    """Return int64 that order as (value descending, column ascending), for float32 values."""
    # + 0.0: -0.0 equals 0.0 but has other bits
    bits = (values + 0.0).contiguous().view(torch.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # as integers, negative floats run backwards
    return (ordered.to(torch.int64) << 32) | (0x7FFFFFFF - columns)
