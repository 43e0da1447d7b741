"""The one order of token ids: larger logit first, then lower id. Exact, whatever ties there are.

`torch.topk` and `torch.sort` leave the order of equal values open, and half-precision logits tie
at every position. Instead a row is cut into groups of columns. The k-th largest of the groups'
maxima is no larger than the k-th value of the row (kernels.md 2.4), so the groups whose maximum
reaches it hold the first k ids, and one cheap pass of maxima replaces a selection over the row.
The few logits that reach it are sorted by value and id packed into one integer, which has no ties.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 32
"""Neighbouring columns in a group."""
_TOGETHER = 4
"""Groups whose maxima are joined for the bound: a selection among fewer is faster, and the bound
of 250 maxima lets through few more logits than that of 1,000."""
_CROWDED = 4
"""Candidates per place from which on selecting over the whole row is faster."""


@dataclass(frozen=True, slots=True, eq=False)
class Ordered:
    """The first k ids of each row with their logits, both (R, k)."""

    ids: Tensor
    logits: Tensor
    """Float32, or float64 for a float64 table."""

    def __getitem__(self, rows: slice) -> "Ordered":
        """Return some of the rows."""
        return Ordered(self.ids[rows], self.logits[rows])


def first_ids(table: Tensor, k: int) -> Ordered:
    """Return the first min(k, V) ids of each row of a (R, V) table without NaN; k >= 1."""
    k = min(k, int(table.shape[1]))
    if table.dtype == torch.float64:
        return _sorted_ids(table, k)
    table = table.float()
    ids = _ids_from_groups(table, k)
    if ids is None:
        ids = _ids_from_row(table, k)
    return Ordered(ids, table.gather(1, ids))


def _sorted_ids(table: Tensor, k: int) -> Ordered:
    """Return the first ids by a full sort: beside a 64-bit value there is no room for the id."""
    logits, ids = torch.sort(table, dim=1, descending=True, stable=True)
    return Ordered(ids[:, :k], logits[:, :k])


def _ids_from_row(table: Tensor, k: int) -> Tensor:
    """Return the first ids (R, k) by a selection over whole rows."""
    columns = torch.arange(table.shape[1], device=table.device)
    return _ids_of(_keys(table, columns).topk(k, dim=1).values)


def _ids_from_groups(table: Tensor, k: int) -> Tensor | None:
    """Return the first ids (R, k), or None where there are few groups or many candidates."""
    rows, width = table.shape
    count = width // GROUP
    if count < max(2 * k, GROUP) or not rows:
        return None
    groups = table[:, : count * GROUP].view(rows, count, GROUP)
    maxima = groups.amax(2)
    rest = table[:, count * GROUP :]  # (R, V % GROUP): one more column each for the first groups
    torch.maximum(maxima[:, : rest.shape[1]], rest, out=maxima[:, : rest.shape[1]])
    least = _bound(maxima, k)
    if bool(torch.isnan(least).any()):
        return None
    row, group = torch.nonzero(maxima >= least, as_tuple=True)
    if len(row) > _CROWDED * k * rows:
        return None
    logits = groups[row, group]  # (n, GROUP)
    if rest.shape[1]:
        logits = torch.cat([logits, _rest_of_groups(rest, row, group)[:, None]], 1)
    place, step = torch.nonzero(logits >= least[row], as_tuple=True)
    if len(place) > _CROWDED * k * rows:
        return None
    ids = torch.where(step < GROUP, group[place] * GROUP + step, count * GROUP + group[place])
    keys = _keys(logits[place, step], ids)
    return _ids_of(_table_of(keys, row[place], rows).sort(1, descending=True).values[:, :k])


def _bound(maxima: Tensor, k: int) -> Tensor:
    """Return (R, 1): no more than the k-th largest logit, from the maxima of larger groups."""
    together = min(_TOGETHER, maxima.shape[1] // (2 * k))
    count = maxima.shape[1] // together
    larger = maxima[:, : count * together].view(-1, together, count).amax(1)
    return larger.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)


def _rest_of_groups(rest: Tensor, row: Tensor, group: Tensor) -> Tensor:
    """Return (n,) the additional logit of some groups, -inf where a group has none."""
    has = group < rest.shape[1]
    return torch.where(has, rest[row, torch.where(has, group, 0)], float("-inf"))


def _table_of(keys: Tensor, row: Tensor, rows: int) -> Tensor:
    """Return (R, m) with the keys of each row, after which the least integer; `row` ascends."""
    counts = torch.bincount(row, minlength=rows)
    first = counts.cumsum(0) - counts
    table = keys.new_full((rows, int(counts.amax())), torch.iinfo(torch.int64).min)
    table[row, torch.arange(len(row), device=row.device) - first[row]] = keys
    return table


def _keys(values: Tensor, columns: Tensor) -> Tensor:
    """Return int64 that order as (value descending, column ascending), for float32 values."""
    # + 0.0: -0.0 equals 0.0 but has other bits
    bits = (values + 0.0).contiguous().view(torch.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # as integers, negative floats run backwards
    return (ordered.to(torch.int64) << 32) | (0x7FFFFFFF - columns)


def _ids_of(keys: Tensor) -> Tensor:
    return 0x7FFFFFFF - (keys & 0x7FFFFFFF)


def counts_beside(
    table: Tensor, values: Tensor, first: Ordered, scratch: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (R,) int64 numbers of logits larger than, and equal to, one value a row.

    A value above the last of the first ids is counted among those; only the others cost a pass.

    Args:
        table: (R, V) float32, V < 2^24.
        values: (R, 1).
        first: of the same table.
        scratch: (R, V) float32, overwritten.
    """
    above = (first.logits > values).sum(1)
    equal = (first.logits == values).sum(1)
    rest = torch.nonzero(values[:, 0] <= first.logits[:, -1])[:, 0]
    if len(rest):
        everywhere = len(rest) == len(table)
        some, limit = (table, values) if everywhere else (table[rest], values[rest])
        work = scratch[: len(some)]
        above[rest] = torch.gt(some, limit, out=work).sum(1).to(torch.int64)
        equal[rest] = torch.eq(some, limit, out=work).sum(1).to(torch.int64)
    return above, equal
