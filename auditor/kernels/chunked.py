"""The agreement kernel in torch, a few rows at a time in buffers that stay in cache.

Memory: twelve buffers of 2 MiB (or of one row, where that is more), whatever T is; two of 4 MiB to
convert half-precision tables. Float32 inside. Sums have a fixed order, so the same input gives the
same bytes.
"""

import torch
from torch import Tensor

from auditor.kernels.first_pass import SideSums, slices
from auditor.kernels.pairs import Fields, LogitPair, Wanted, difference_origins
from auditor.kernels.row_sums import RowSums
from auditor.kernels.second_pass import Block, DivergenceSums

_BLOCK_ELEMENTS = 1 << 19
_ORDERED = 16
"""Blocks whose ids are ordered at once: many small steps, of which the number counts."""
_CONVERTED = 2
"""The same where logits are converted to float32 first, to bound the copies."""


def agreement_fields(pair: LogitPair, wanted: Wanted) -> Fields:
    """Return every output by name: floats as float32, counts as int64."""
    step = min(max(1, _BLOCK_ELEMENTS // pair.vocabulary), max(1, pair.positions))
    native = all(t.dtype == torch.float32 and t.stride(1) == 1 for t in (pair.a, pair.b))
    together = (_ORDERED if native else _CONVERTED) * step
    work = _Work(pair, wanted, step, together)
    for rows in slices(pair.positions, together):
        work.add(rows)
    work.finish()
    return work.fields()


class _Work(RowSums):
    """Buffers for R rows, and the sums of all T."""

    def __init__(self, pair: LogitPair, wanted: Wanted, rows: int, together: int) -> None:
        device = pair.a.device
        self._sums = DivergenceSums(
            (pair.positions, rows, pair.vocabulary), wanted.tier == "full", device
        )
        sides = SideSums("a", pair, rows, together), SideSums("b", pair, rows, together)
        super().__init__(pair, wanted, sides, self._sums)
        self._step = rows
        self._buffers = [torch.empty((rows, pair.vocabulary), device=device) for _ in range(5)]

    def add(self, rows: slice) -> None:
        """Fill in `rows`, or mark those that need the reference as bad."""
        if bool(self.bad[rows].all()):
            return
        (a, maxima_a), (b, maxima_b) = self._load(rows)
        first_a, first_b = self.order(a, b, rows, (maxima_a, maxima_b))
        beside = self.a.counts(a, first_a, rows), self.b.counts(b, first_b, rows)
        choice = self.choice(b, first_b, rows) if self.full else None
        tables = zip((*beside, choice), (a, b, b), strict=True)
        counted = [(counts, table) for counts, table in tables if counts is not None]
        ratio = _LogRatio(self.a.peak[rows], self.b.peak[rows])
        for part in slices(len(a), self._step):
            for counts, table in counted:
                counts.add(table[part], part, self._buffers[0][: part.stop - part.start])
            self._add_block(a[part], b[part], ratio, part, rows.start)
        self.a.rank(beside[0], rows)
        self.b.rank(beside[1], rows)
        if choice is not None:
            self.above_choice[rows] = choice.above

    def _load(self, rows: slice) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return float32 logits of `rows` and their group maxima; zeros in bad rows."""
        loaded = self.a.load(rows, self._step), self.b.load(rows, self._step)
        bad = ~torch.isfinite(self.a.total[rows] + self.b.total[rows])
        if bool(bad.any()):
            self.bad[rows] = bad
            loaded = self.a.load_without(bad, rows), self.b.load_without(bad, rows)
        return loaded

    def _add_block(self, a: Tensor, b: Tensor, ratio: "_LogRatio", part: slice, start: int) -> None:
        """Add the logits of `part` of the rows from `start` on."""
        d, s, y, w, v = (buffer[: len(a)] for buffer in self._buffers)
        rows = slice(start + part.start, start + part.stop)
        centred_a, centred_b = self.a.centred(a, rows), self.b.centred(b, rows)
        torch.sum(torch.mul(centred_a, centred_b, out=w), 1, out=self.cross[rows])
        self.a.add_square(centred_a, rows)
        self.b.add_square(centred_b, rows)
        p, root_p = self.a.normalise(a, rows, w)
        q, root_q = self.b.normalise(b, rows, w)
        norms = self.a.log_norm(rows) - self.b.log_norm(rows)
        ratio.write(a, b, norms, part, out=d, scratch=s)
        block = Block(p=p, q=q, root_p=root_p, root_q=root_q, d=d, s=s, y=y, w=w, v=v)
        if not self._sums.add(block, rows):
            self.bad[rows] = True

    def finish(self) -> None:
        """Add the rows that wait for others like them."""
        d, s, y, w, v = self._buffers
        self._sums.finish(Block(p=d, q=d, root_p=d, root_q=d, d=d, s=s, y=y, w=w, v=v))


class _LogRatio:
    """log p - log q of R rows, exactly 0 for equal logits, with as few roundings as can be."""

    def __init__(self, peak_a: Tensor, peak_b: Tensor) -> None:
        self._from_a, self._from_b = difference_origins(peak_a, peak_b)
        self._left = (peak_a - self._from_a).double() - (peak_b - self._from_b).double()
        self._moved = bool(self._from_a.any() or self._from_b.any())

    def write(
        self, a: Tensor, b: Tensor, norms: Tensor, part: slice, *, out: Tensor, scratch: Tensor
    ) -> None:
        """Write it for the logits (n, V) of `part`, of whose norms (n,) this is the difference."""
        if self._moved:
            torch.sub(a, self._from_a[part, None], out=out)
            out.sub_(torch.sub(b, self._from_b[part, None], out=scratch))
        else:
            torch.sub(a, b, out=out)  # one pass instead of three
        out.sub_((norms + self._left[part]).float()[:, None])
