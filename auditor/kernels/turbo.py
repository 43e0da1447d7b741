"""The agreement kernel compiled by `torch.compile`: two fused loops over the vocabulary.

Opt-in, since it needs a C++ compiler and some seconds for each new vocabulary size. The first loop
gives the normalisers, the second everything that needs log p - log q, every divergence a sum of
terms >= 0 (kernels.md 2.3, with the series of `auditor.kernels.second_pass`). Order and overlap of
ids, and rows that float32 cannot hold, are computed as in `auditor.kernels.chunked`. Memory: one
chunk of converted logits where rows are not float32, and the maxima of `order`.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from auditor.kernels.first_pass import SideSums
from auditor.kernels.pairs import Fields, LogitPair, Wanted
from auditor.kernels.row_sums import RowSums, slices
from auditor.kernels.second_pass import JS, NEAR, SECH, TX, X_MINUS_T, T

ROWS = 64
"""Rows of a chunk; the last one is padded, so that one compilation serves all."""
_LOWEST = -60.0
"""Least logit below the peak, in nats: smaller ones would be denormal numbers."""
_PEAKS_APART = 1.0
"""Nats between the largest logits beyond which each is taken from its own peak first."""
_TINY = 1e-37
_NAMES = ("kl_ab", "kl_ba", "hellinger2", "bc", "tv", "js")


@functools.cache
def unavailable_reason() -> str | None:
    """Return why nothing can be compiled here, or None where it can."""
    try:
        found = _compiled(_doubled)(torch.ones(8))
    except Exception as error:  # whatever the compiler, its driver or its cache raises
        return f"torch.compile failed: {str(error).strip().splitlines()[0][:120]}"
    return None if float(found.sum()) == 16.0 else "torch.compile gave a wrong sum"


def agreement_fields(pair: LogitPair, wanted: Wanted) -> Fields:
    """Return every output by name: floats as float32, counts as int64."""
    work = _Work(pair, wanted)
    for rows in slices(pair.positions, ROWS):
        work.add(rows)
    return work.fields()


def _doubled(x: Tensor) -> Tensor:
    return x * 2


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the compiled function; shapes are fixed, so each vocabulary compiles once."""
    made = torch.compile(function, dynamic=False, fullgraph=True)

    def call(*values: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler, about itself
            return made(*values)

    return call


class _Sums:
    """Divergences of all rows, (T,) each."""

    def __init__(self, pair: LogitPair, full: bool) -> None:
        self.full = full
        self.sums = torch.zeros((len(_NAMES), pair.positions), device=pair.a.device)

    def fields(self) -> Fields:
        """Return them by name, float64."""
        sums = dict(zip(_NAMES, self.sums.double(), strict=True))
        h2 = sums["hellinger2"].clamp(0.0, 1.0)
        fields = {
            "kl_ab": sums["kl_ab"].clamp(min=0.0),
            "kl_ba": sums["kl_ba"].clamp(min=0.0),
            "log_bc": torch.where(h2 < 0.5, torch.log1p(-h2), sums["bc"].log()),
        }
        if self.full:
            fields["js"] = sums["js"].clamp(0.0, float(torch.log(torch.tensor(2.0))))
            fields["tv"] = sums["tv"].clamp(0.0, 1.0)
            fields["hellinger2"] = h2
        return fields


class _Work(RowSums):
    """The sums of all T rows, a padded chunk at a time."""

    def __init__(self, pair: LogitPair, wanted: Wanted) -> None:
        self._sums = _Sums(pair, wanted.tier == "full")
        sides = SideSums("a", pair, 0, ROWS), SideSums("b", pair, 0, ROWS)
        super().__init__(pair, wanted, sides, self._sums)

    def add(self, rows: slice) -> None:
        """Fill in `rows`, or mark those that need the reference as bad."""
        loaded = self.load(rows)
        if loaded is None:
            return
        a, b = (_padded(table) for table in loaded)
        count = rows.stop - rows.start
        _, first_b = self.order(a[:count], b[:count], rows)
        if self.full:
            self.find_choice(b[:count], first_b, rows, torch.empty_like(b[:count]))
        self._single(a, b, rows)
        self._paired(a, b, rows)

    def _single(self, a: Tensor, b: Tensor, rows: slice) -> None:
        """Set normalisers and counts."""
        sides = (self.a, a), (self.b, b)
        own = [self._own(side, table, rows) for side, table in sides]
        peaks = [_padded(side.peak[rows]) for side, _ in sides]
        sums = _compiled(_first_loop)(a, b, *peaks, *own)[:, : rows.stop - rows.start]
        for (side, _), (others, level, above, equal) in zip(sides, sums.split(4), strict=True):
            given = side.lse
            norm = torch.log1p(others.double() + (level.double() - 1.0))
            side.log_norm[rows] = norm if given is None else given[rows] - side.peak[rows].double()
            side.above[rows], side.equal[rows] = above.to(torch.int64), equal.to(torch.int64)

    def _own(self, side: SideSums, table: Tensor, rows: slice) -> Tensor:
        """Return (ROWS,) the logit of the token that came next, or the peak."""
        if side.tokens is None:
            return _padded(side.peak[rows])
        return table.gather(1, _padded(side.tokens[rows])[:, None])[:, 0]

    def _paired(self, a: Tensor, b: Tensor, rows: slice) -> None:
        """Set entropies, moments and divergences; mark rows with a sum beyond float32 as bad."""
        one, two = self.a, self.b
        peak_a, peak_b = one.peak[rows], two.peak[rows]
        far = (peak_a - peak_b).abs() > _PEAKS_APART
        from_a, from_b = torch.where(far, peak_a, 0.0), torch.where(far, peak_b, 0.0)
        left = (peak_a - from_a).double() - (peak_b - from_b).double()
        shift = (one.log_norm[rows] - two.log_norm[rows] + left).float()
        width = a.shape[1]
        scalars = [peak_a, peak_b, from_a, from_b, shift]
        scalars += [torch.exp(-side.log_norm[rows]).float() for side in (one, two)]
        scalars += [side.total[rows] / width for side in (one, two)]
        found = _compiled(_second_loop)(a, b, *(_padded(x) for x in scalars))
        found = found[:, : rows.stop - rows.start]
        one.square[rows], two.square[rows], self.cross[rows] = found[:3]
        for side, mean in ((one, found[3]), (two, found[4])):
            side.entropy[rows] = side.log_norm[rows] - mean.double()
        self._sums.sums[:, rows] = found[5:]
        self.bad[rows] |= ~torch.isfinite(found).all(0)


def _padded(table: Tensor) -> Tensor:
    """Return `table` with zero rows up to ROWS, itself where it has as many."""
    missing = ROWS - table.shape[0]
    if not missing:
        return table.contiguous()
    return torch.cat([table, table.new_zeros((missing, *table.shape[1:]))])


def _first_loop(
    a: Tensor, b: Tensor, peak_a: Tensor, peak_b: Tensor, own_a: Tensor, own_b: Tensor
) -> Tensor:
    """Return (8, R): of each model the sum of exp below the peak, and three counts."""
    sums = []
    for table, peak, own in ((a, peak_a, own_a), (b, peak_b, own_b)):
        u = table - peak[:, None]
        sums += [
            torch.where(u < 0, torch.exp(u.clamp(min=_LOWEST)), 0.0).sum(1),
            torch.where(u < 0, 0.0, 1.0).sum(1),
            torch.where(table > own[:, None], 1.0, 0.0).sum(1),
            torch.where(table == own[:, None], 1.0, 0.0).sum(1),
        ]
    return torch.stack(sums)


def _second_loop(
    a: Tensor,
    b: Tensor,
    peak_a: Tensor,
    peak_b: Tensor,
    from_a: Tensor,
    from_b: Tensor,
    shift: Tensor,
    scale_a: Tensor,
    scale_b: Tensor,
    mean_a: Tensor,
    mean_b: Tensor,
) -> Tensor:
    """Return (11, R): moments, mean logits under their own model, and the sums of `_NAMES`."""
    u, v = (a - peak_a[:, None]).clamp(min=_LOWEST), (b - peak_b[:, None]).clamp(min=_LOWEST)
    p, q = torch.exp(u) * scale_a[:, None], torch.exp(v) * scale_b[:, None]
    d = ((a - from_a[:, None]) - (b - from_b[:, None])) - shift[:, None]
    x, y = a - mean_a[:, None], b - mean_b[:, None]
    moments = [(x * x).sum(1), (y * y).sum(1), (x * y).sum(1), (u * p).sum(1), (v * q).sum(1)]
    return torch.stack([*moments, *_divergences(p, q, d)])


def _divergences(p: Tensor, q: Tensor, d: Tensor) -> list[Tensor]:
    """Return the sums of `_NAMES`, (R,) each."""
    s, w, y, size = p + q, p - q, d * d, d.abs()
    near = size < NEAR
    root = torch.sqrt(p) * torch.sqrt(q)
    t = size * _polynomial(T, y)
    even = torch.where(near, s * (y * _polynomial(TX, y)), 0.5 * (w * d))
    odd = torch.where(near, s * (d * y * _polynomial(X_MINUS_T, y)), 0.5 * (s * d) - w)
    h2 = torch.where(near, s * (y * _polynomial(SECH, y)), s - 2.0 * root)
    far_js = s * torch.log1p(w.abs() / (s + _TINY)) - torch.minimum(p, q) * size
    js = torch.where(near, s * (y * _polynomial(JS, y)), far_js)
    gap = torch.where(near, s * t, w.abs())
    even, odd = even.sum(1), odd.sum(1)
    halves = [h2.sum(1) / 2, root.sum(1), gap.sum(1) / 2, js.sum(1) / 2]
    return [even + odd, even - odd, *halves]


def _polynomial(coefficients: tuple[float, ...], y: Tensor) -> Tensor:
    """Return c0 + c1 y + c2 y^2 + ..."""
    value = torch.full_like(y, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * y + c
    return value
