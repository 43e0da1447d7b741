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


def first_ids(table: Tensor, k: int, maxima: Tensor | None = None) -> Ordered:
    """Return the first min(k, V) ids of each row of a (R, V) table without NaN; k >= 1.

    Args:
        table: (R, V).
        k: how many ids.
        maxima: what `group_maxima` gave for the same table, where it is known already.
    """
    k = min(k, int(table.shape[1]))
    if table.dtype == torch.float64:
        return _sorted_ids(table, k)
    table = table.float()
    ids = None
    if len(table) and table.shape[1] // GROUP >= max(2 * k, GROUP):
        ids = _ids_from_groups(table, k, group_maxima(table) if maxima is None else maxima)
    if ids is None:
        ids = _ids_from_row(table, k)
    return Ordered(ids, table.gather(1, ids))


def group_maxima(table: Tensor, out: Tensor | None = None) -> Tensor:
    """Return (R, V // GROUP): the largest logit of each group of columns, in `out` if given.

    The V % GROUP last columns belong to the first groups, one each.
    """
    rows, width = table.shape
    count = width // GROUP
    maxima = table.new_empty((rows, count)) if out is None else out
    torch.amax(table[:, : count * GROUP].view(rows, count, GROUP), 2, out=maxima)
    rest = table[:, count * GROUP :][:, :count]
    torch.maximum(maxima[:, : rest.shape[1]], rest, out=maxima[:, : rest.shape[1]])
    return maxima


def _sorted_ids(table: Tensor, k: int) -> Ordered:
    """Return the first ids by a full sort: beside a 64-bit value there is no room for the id."""
    logits, ids = torch.sort(table, dim=1, descending=True, stable=True)
    return Ordered(ids[:, :k], logits[:, :k])


def _ids_from_row(table: Tensor, k: int) -> Tensor:
    """Return the first ids (R, k) by a selection over whole rows."""
    columns = torch.arange(table.shape[1], device=table.device)
    return _ids_of(_keys(table, columns).topk(k, dim=1).values)


def _ids_from_groups(table: Tensor, k: int, maxima: Tensor) -> Tensor | None:
    """Return the first ids (R, k), or None where there are many candidates."""
    rows, width = table.shape
    count = width // GROUP
    least = _bound(maxima, k)
    if bool(torch.isnan(least).any()):
        return None
    row, group = torch.nonzero(maxima >= least, as_tuple=True)
    if len(row) > _CROWDED * k * rows:
        return None
    logits = _groups(table, row, group)  # (n, GROUP)
    rest = table[:, count * GROUP :]
    if rest.shape[1]:
        logits = torch.cat([logits, _rest_of_groups(rest, row, group)[:, None]], 1)
    place, step = torch.nonzero(logits >= least[row], as_tuple=True)
    if len(place) > _CROWDED * k * rows:
        return None
    ids = torch.where(step < GROUP, group[place] * GROUP + step, count * GROUP + group[place])
    keys = _keys(logits[place, step], ids)
    return _ids_of(_table_of(keys, row[place], rows).sort(1, descending=True).values[:, :k])


def _groups(table: Tensor, row: Tensor, group: Tensor) -> Tensor:
    """Return (n, GROUP): the logits of some groups.

    Read through a view of every GROUP neighbouring logits, wherever they start: selecting rows of
    that is twenty times as fast as indexing by two axes.
    """
    if table.stride(1) != 1:
        table = table.contiguous()
    stride = table.stride(0)
    last = (table.shape[0] - 1) * stride + table.shape[1]
    runs = table.as_strided((last - GROUP + 1, GROUP), (1, 1))
    return runs.index_select(0, row * stride + group * GROUP)


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


class CountsBeside:
    """How many logits of each row are larger than, and equal to, one value of the row.

    A value above the last of the first ids is counted among those; only the others cost passes
    over the row, which `add` makes for some rows at a time.
    """

    def __init__(self, values: Tensor, first: Ordered) -> None:
        """Count what the first ids tell.

        Args:
            values: (R, 1).
            first: of the same R rows, of V < 2^24 logits.
        """
        self._values = values
        self.above = (first.logits > values).sum(1)
        """(R,) int64."""
        self.equal = (first.logits == values).sum(1)
        """(R,) int64."""
        self._open: list[bool] = (values[:, 0] <= first.logits[:, -1]).tolist()

    def add(self, table: Tensor, rows: slice, scratch: Tensor) -> None:
        """Count over the whole of those of `rows` that need it.

        Args:
            table: (n, V) float32: the logits of `rows`.
            rows: where they are among all R.
            scratch: (n, V) float32, overwritten.
        """
        places = [i for i, needed in enumerate(self._open[rows]) if needed]
        if not places:
            return
        values, at = self._values[rows], rows
        if len(places) < len(table):
            picked = torch.tensor(places, device=table.device)
            table, values, at = table[picked], values[picked], picked + rows.start
        work = scratch[: len(table)]
        self.above[at] = torch.gt(table, values, out=work).sum(1).long()
        self.equal[at] = torch.eq(table, values, out=work).sum(1).long()
