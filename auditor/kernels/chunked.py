"""The agreement kernel in torch, a few rows at a time in buffers that stay in cache.

Memory: twelve buffers of 2 MiB (or of one row, where that is more), whatever T is; two of 4 MiB to
convert half-precision tables. Float32 inside. Sums have a fixed order, so the same input gives the
same bytes.
"""

import torch
from torch import Tensor

from auditor.kernels.first_pass import SideSums
from auditor.kernels.order import Ordered
from auditor.kernels.pairs import Fields, LogitPair, Wanted, difference_origins
from auditor.kernels.row_sums import RowSums, slices
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
        loaded = self.load(rows)
        if loaded is None:
            return
        a, b = loaded
        first_a, first_b = self.order(a, b, rows)
        for part in slices(len(a), self._step):
            firsts = first_a[part], first_b[part]
            place = slice(rows.start + part.start, rows.start + part.stop)
            self._add_block((a[part], b[part]), firsts, place)

    def _add_block(
        self, logits: tuple[Tensor, Tensor], firsts: tuple[Ordered, Ordered], rows: slice
    ) -> None:
        a, b = logits
        d, s, y, w, v = self._scratch(a.shape[0])
        centred = self.a.centred(a, rows, w), self.b.centred(b, rows, w)
        torch.sum(torch.mul(*centred, out=w), 1, out=self.cross[rows])
        self.a.rank(a, firsts[0], rows, w)
        self.b.rank(b, firsts[1], rows, w)
        if self.full:
            self.find_choice(b, firsts[1], rows, w)
        p, root_p = self.a.normalise(a, rows, w)
        q, root_q = self.b.normalise(b, rows, w)
        self._log_ratio(a, b, rows, out=d, scratch=s)
        block = Block(p=p, q=q, root_p=root_p, root_q=root_q, d=d, s=s, y=y, w=w, v=v)
        if not self._sums.add(block, rows):
            self.bad[rows] = True

    def finish(self) -> None:
        """Add the rows that wait for others like them."""
        d, s, y, w, v = self._scratch(len(self._buffers[0]))
        self._sums.finish(Block(p=d, q=d, root_p=d, root_q=d, d=d, s=s, y=y, w=w, v=v))

    def _scratch(self, rows: int) -> list[Tensor]:
        return [buffer[:rows] for buffer in self._buffers]

    def _log_ratio(
        self, a: Tensor, b: Tensor, rows: slice, *, out: Tensor, scratch: Tensor
    ) -> None:
        """Write log p - log q, exactly 0 for equal logits, with as few roundings as can be."""
        peak_a, peak_b = self.a.peak[rows], self.b.peak[rows]
        norms = self.a.log_norm[rows] - self.b.log_norm[rows]
        from_a, from_b = difference_origins(peak_a, peak_b)
        if bool(from_a.any() or from_b.any()):
            torch.sub(a, from_a[:, None], out=out)
            out.sub_(torch.sub(b, from_b[:, None], out=scratch))
        else:
            torch.sub(a, b, out=out)  # one pass instead of three
        left = (peak_a - from_a).double() - (peak_b - from_b).double()
        out.sub_((norms + left).float()[:, None])
