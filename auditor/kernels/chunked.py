"""The agreement kernel in torch, a few rows at a time in buffers that stay in cache.

Memory: nine buffers of 2 MiB (or of one row, where that is more), whatever T is; two more to
convert half-precision tables. Float32 inside. Rows that float32 sums cannot hold are computed by
`auditor.kernels.reference`: those with -inf or with logits beyond 1e18, and all of a float64 table.
Sums have a fixed order, so the same input gives the same bytes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from auditor.kernels import reference
from auditor.kernels.first_pass import SideSums
from auditor.kernels.order import first_ids_of
from auditor.kernels.pairs import Fields, LogitPair, Wanted
from auditor.kernels.second_pass import Block, DivergenceSums

_BLOCK_ELEMENTS = 1 << 19
_REDO_ELEMENTS = 1 << 15
"""Logits given to float64 code at once: its many tables then take less than the buffers here."""
_EXACT_COUNT = 1 << 24
"""Float32 sums count exactly up to here."""
_PEAKS_APART = 1.0
"""Nats between the largest logits of both models."""
_NEARLY_DISJOINT = 1e-4
"""Bhattacharyya coefficient below which the floor of `first_pass` would show."""
_NEARLY_CONSTANT = 3.6e-7
"""Variance over squared mean below which centring in float32 would show."""


def agreement_fields(pair: LogitPair, wanted: Wanted) -> Fields:
    """Return every output by name: floats as float32, counts as int64."""
    step = min(max(1, _BLOCK_ELEMENTS // pair.vocabulary), max(1, pair.positions))
    work = _Work(pair, wanted, step)
    for rows in _slices(pair.positions, step):
        work.add(rows)
    fields = work.fields()
    return {name: v.float() if v.is_floating_point() else v for name, v in fields.items()}


def _slices(total: int, step: int) -> list[slice]:
    return [slice(i, min(i + step, total)) for i in range(0, total, step)]


def _redo(
    fields: Fields, pair: LogitPair, rows: Tensor, exact: Callable[[LogitPair], Fields]
) -> None:
    """Overwrite the named outputs of some rows (n,) by those that `exact` computes."""
    for group in torch.split(rows, max(1, _REDO_ELEMENTS // pair.vocabulary)):
        for name, values in exact(pair.picked(group)).items():
            fields[name][group] = values.to(fields[name].dtype)


class _Ratio(NamedTuple):
    """Where log p - log q goes, and a table to overwrite; both (R, V)."""

    d: Tensor
    scratch: Tensor


class _Work:
    """Buffers for R rows, and the sums of all T."""

    def __init__(self, pair: LogitPair, wanted: Wanted, rows: int) -> None:
        self.pair, self.wanted = pair, wanted
        self.full = wanted.tier == "full"
        self.a, self.b = SideSums("a", pair, rows), SideSums("b", pair, rows)
        device, positions = pair.a.device, pair.positions
        self.divergences = DivergenceSums(positions, self.full, device)
        self.cross = torch.zeros(positions, device=device)
        """Sum of products of the centred logits."""
        self.above_choice = torch.zeros(positions, device=device)
        """Number of ids that b puts above a's argmax."""
        self.overlap = torch.zeros((positions, len(wanted.topk)), device=device)
        self._buffers = [torch.empty((rows, pair.vocabulary), device=device) for _ in range(5)]
        wide = torch.float64 in (pair.a.dtype, pair.b.dtype)
        careful = wide or pair.vocabulary >= _EXACT_COUNT
        self.bad = torch.full((positions,), careful, device=device)
        """Rows beyond float32 sums."""

    def add(self, rows: slice) -> None:
        """Fill in `rows`, or mark those that need the reference as bad."""
        if bool(self.bad[rows].all()):
            return
        a, b = self.a.load(rows), self.b.load(rows)
        bad = ~torch.isfinite(self.a.total[rows] + self.b.total[rows])
        if bool(bad.any()):
            self.bad[rows] = bad
            a, b = self.a.load_without(bad, rows), self.b.load_without(bad, rows)
        d, s, y, w, v = (buffer[: a.shape[0]] for buffer in self._buffers)
        centred = self.a.centred(a, rows, w), self.b.centred(b, rows, w)
        torch.sum(torch.mul(*centred, out=w), 1, out=self.cross[rows])
        self._order(a, b, rows, w)
        p, q = self.a.normalise(a, rows, w), self.b.normalise(b, rows, w)
        self.a.rank(a, rows, w)
        self.b.rank(b, rows, w)
        self._log_ratio(a, b, rows, _Ratio(d=d, scratch=s))
        if not self.divergences.add(Block(p=p, q=q, d=d, s=s, y=y, w=w, v=v), rows):
            self.bad[rows] = True

    def _log_ratio(self, a: Tensor, b: Tensor, rows: slice, buffers: _Ratio) -> None:
        """Write log p - log q, exactly 0 for equal logits, with as few roundings as there can be.

        For nearly equal logits a - b is exact. Where the peaks differ much, logits are taken from
        their own peak first: a - b would round to the size of the offset.
        """
        peak_a, peak_b = self.a.peak[rows], self.b.peak[rows]
        norms = self.a.log_norm[rows] - self.b.log_norm[rows]
        apart = (peak_a - peak_b).abs() > _PEAKS_APART
        if not bool(apart.any()):
            shift = norms + (peak_a.double() - peak_b.double())
            torch.sub(a, b, out=buffers.d).sub_(shift.float()[:, None])
            return
        from_a, from_b = torch.where(apart, peak_a, 0.0), torch.where(apart, peak_b, 0.0)
        torch.sub(a, from_a[:, None], out=buffers.d)
        buffers.d.sub_(torch.sub(b, from_b[:, None], out=buffers.scratch))
        left = (peak_a - from_a).double() - (peak_b - from_b).double()
        buffers.d.sub_((norms + left).float()[:, None])

    def _order(self, a: Tensor, b: Tensor, rows: slice, scratch: Tensor) -> None:
        """Find the largest logits, their overlap and the rank of a's choice in b."""
        k = max(self.wanted.topk, default=1) if self.full else 1
        first_a, first_b = first_ids_of((a, b), k)
        self.a.choose(first_a, rows)
        self.b.choose(first_b, rows)
        if not self.full:
            return
        overlap = reference.overlaps(first_a.ids, first_b.ids, self.wanted.topk)
        self.overlap[rows] = overlap.float()
        choice = b.gather(1, first_a.ids[:, :1])
        torch.sum(torch.gt(b, choice, out=scratch), 1, out=self.above_choice[rows])

    def fields(self) -> Fields:
        """Return the outputs of all rows added; floats as float64."""
        pair, wanted = self.pair, self.wanted
        fields = self.a.fields() | self.b.fields() | self.divergences.fields()
        fields |= self._correlations()
        if self.full:
            fields["rank_argmax_a_in_b"] = self.above_choice.to(torch.int64) + 1
            fields["topk_overlap"] = self.overlap.double()
        apart = ~(fields["log_bc"].exp() > _NEARLY_DISJOINT) & ~self.bad
        _redo(fields, pair, torch.nonzero(apart)[:, 0], reference.overlap_fields)
        flat = self._nearly_constant() & ~self.bad
        _redo(fields, pair, torch.nonzero(flat)[:, 0], reference.correlation_fields)
        bad = torch.nonzero(self.bad)[:, 0]
        _redo(fields, pair, bad, lambda rows: reference.agreement_fields(rows, wanted))
        return fields

    def _correlations(self) -> Fields:
        width = self.pair.vocabulary
        square_a, square_b = self.a.square.double(), self.b.square.double()
        mean_a, mean_b = self.a.total.double() / width, self.b.total.double() / width
        cross = self.cross.double()
        norms = (square_a + width * mean_a**2) * (square_b + width * mean_b**2)
        cosine = (cross + width * mean_a * mean_b) / norms.sqrt()
        pearson = cross / (square_a * square_b).sqrt()
        return {"cosine": cosine.clamp(-1.0, 1.0), "pearson": pearson.clamp(-1.0, 1.0)}

    def _nearly_constant(self) -> Tensor:
        flat = torch.zeros_like(self.bad)
        for side in (self.a, self.b):
            limit = _NEARLY_CONSTANT * side.total.double() ** 2 / self.pair.vocabulary
            flat |= side.square.double() <= limit
        return flat
