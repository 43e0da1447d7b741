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

from auditor.kernels.first_pass import SideSums, slices
from auditor.kernels.order import GROUP, group_maxima
from auditor.kernels.pairs import Fields, LogitPair, Wanted, difference_origins
from auditor.kernels.row_sums import Maxima, RowSums
from auditor.kernels.second_pass import JS, NEAR, SECH, TX, X_MINUS_T, T

ROWS = 64
"""Rows of a chunk; the last one is padded, so that one compilation serves all."""
ORDERED_ROWS = 8 * ROWS
"""Rows whose ids are ordered at once: that is a hundred small operations, however many they are."""
_LONGEST = 4096
"""Tokens summed in registers: for more, the compiler keeps partial sums in memory (2x slower)."""
_VECTOR = 16
_LOWEST = -60.0
"""Least logit below the peak, in nats: smaller ones would be denormal numbers."""
_ONE_LOOP: dict[str, str | int | bool | Callable[..., Any]] = {
    "realize_opcount_threshold": 1 << 20,
    "realize_reads_threshold": 1 << 20,
    "cpp.enable_floating_point_contract_flag": "fast",
}
"""Keeps the compiler from writing (R, V) tables between long formulas; a b + c rounds once."""
_LOG2_E = 1.4426950408889634
_TINY = 1e-37
_ARTANH = tuple(1.0 / (2 * k + 1) for k in range(8))
"""Coefficients of r^0, r^2, ... in artanh(r) / r."""
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
    for rows in slices(pair.positions, work.step):
        work.add(rows)
    return work.fields()


def _doubled(x: Tensor) -> Tensor:
    return x * 2


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the compiled function; shapes are fixed, so each vocabulary compiles once."""
    from torch._inductor import list_options  # takes seconds to load

    known = set(list_options())
    options = {name: value for name, value in _ONE_LOOP.items() if name in known}
    made = torch.compile(function, dynamic=False, fullgraph=True, options=options)

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
        # Converted logits are there for one chunk only, and few groups tell no peak.
        early = pair.vocabulary // GROUP >= GROUP and not any(side.copied for side in sides)
        self.step = ORDERED_ROWS if early else ROWS

    def add(self, rows: slice) -> None:
        """Fill in up to `step` rows, or mark those that need the reference as bad."""
        if bool(self.bad[rows].all()):
            return
        a, b = self.a.logits(rows), self.b.logits(rows)
        if self.step == ROWS:
            self._ordered(a, b, rows)
            self._summed(a, b, rows)
            return
        count = self.pair.vocabulary // GROUP
        maxima = a.new_empty((len(a), count)), b.new_empty((len(b), count))
        for part in slices(len(a), ROWS):
            at = slice(rows.start + part.start, rows.start + part.stop)
            for side, table, out in ((self.a, a, maxima[0]), (self.b, b, maxima[1])):
                side.peak[at] = group_maxima(table[part], out=out[part]).amax(1)
            self._summed(a[part], b[part], at)
        self._ordered(a, b, rows, maxima)

    def _ordered(self, a: Tensor, b: Tensor, rows: slice, maxima: Maxima = (None, None)) -> None:
        """Set what the order of ids gives."""
        _, first_b = self.order(a, b, rows, maxima)
        if self.full:
            choice = self.choice(b, first_b, rows)
            for part in slices(len(b), ROWS):
                choice.add(b[part], part, torch.empty_like(b[part]))
            self.above_choice[rows] = choice.above

    def _summed(self, a: Tensor, b: Tensor, rows: slice) -> None:
        """Set the sums over the vocabulary of up to ROWS rows, whose peaks are known."""
        a, b = _padded(a), _padded(b)
        self._single(a, b, rows)
        self._paired(a, b, rows)

    def _single(self, a: Tensor, b: Tensor, rows: slice) -> None:
        """Set normalisers and counts."""
        sides = (self.a, a), (self.b, b)
        own = [self._own(side, table, rows) for side, table in sides]
        peaks = [_padded(side.peak[rows]) for side, _ in sides]
        sums = _over_vocabulary(_first_loop, a, b, *peaks, *own)[:, : rows.stop - rows.start]
        for (side, _), part in zip(sides, torch.split(sums, 5), strict=True):
            side.total[rows], others, level, above, equal = part
            side.others[rows] = others + (level - 1.0)
            side.above[rows], side.equal[rows] = above.to(torch.int64), equal.to(torch.int64)
        self.bad[rows] |= ~torch.isfinite(self.a.total[rows] + self.b.total[rows])

    def _own(self, side: SideSums, table: Tensor, rows: slice) -> Tensor:
        """Return (ROWS,) the logit of the token that came next, or the peak."""
        if side.tokens is None:
            return _padded(side.peak[rows])
        return table.gather(1, _padded(side.tokens[rows])[:, None])[:, 0]

    def _paired(self, a: Tensor, b: Tensor, rows: slice) -> None:
        """Set entropies, moments and divergences; mark rows with a sum beyond float32 as bad."""
        one, two = self.a, self.b
        peak_a, peak_b = one.peak[rows], two.peak[rows]
        from_a, from_b = difference_origins(peak_a, peak_b)
        left = (peak_a - from_a).double() - (peak_b - from_b).double()
        norms = one.log_norm(rows), two.log_norm(rows)
        shift = (norms[0] - norms[1] + left).float()
        width = a.shape[1]
        scalars = [peak_a, peak_b, from_a, from_b, shift]
        scalars += [torch.exp(-norm).float() for norm in norms]
        scalars += [side.total[rows] / width for side in (one, two)]
        found = _over_vocabulary(_second_loop, a, b, *(_padded(x) for x in scalars))
        found = found[:, : rows.stop - rows.start]
        one.square[rows], two.square[rows], self.cross[rows] = found[:3]
        one.mean[rows], two.mean[rows] = found[3:5]
        self._sums.sums[:, rows] = found[5:]
        self.bad[rows] |= ~torch.isfinite(found).all(0)


def _padded(table: Tensor) -> Tensor:
    """Return `table` with zero rows up to ROWS, itself where it has as many."""
    missing = ROWS - table.shape[0]
    if not missing:
        return table.contiguous()
    return torch.cat([table, table.new_zeros((missing, *table.shape[1:]))])


def _over_vocabulary(loop: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """Return (n, ROWS): the sums of a compiled loop over two tables (ROWS, V) and scalars (ROWS,).

    The vocabulary is cut into stretches: the compiler keeps short sums in registers.
    """
    tables, scalars = values[:2], [x[:, None, None] for x in values[2:]]
    width = int(tables[0].shape[1])
    length = _stretch(width)
    whole = width // length * length
    sums = []
    for part, size in ((slice(0, whole), length), (slice(whole, width), width - whole)):
        if size and part.stop > part.start:
            cut = [table[:, part].unflatten(1, (-1, size)) for table in tables]  # type: ignore[no-untyped-call]
            sums.append(_compiled(loop)(*cut, *scalars))
    return torch.cat(sums, 2).sum(2)


def _stretch(width: int) -> int:
    """Return a length that divides the vocabulary if there is a good one, else the longest."""
    best = range(_LONGEST - _LONGEST % _VECTOR, _LONGEST // 4, -_VECTOR)
    return next((length for length in best if width % length == 0), _LONGEST)


def _first_loop(
    a: Tensor, b: Tensor, peak_a: Tensor, peak_b: Tensor, own_a: Tensor, own_b: Tensor
) -> Tensor:
    """Return (10, R, n): of each model the sums of logits and of exp below the peak; counts."""
    sums = []
    for table, peak, own in ((a, peak_a, own_a), (b, peak_b, own_b)):
        u = table - peak
        sums += [
            table.sum(2),
            torch.where(u < 0, _exp(u.clamp(min=_LOWEST)), 0.0).sum(2),
            torch.where(u < 0, 0.0, 1.0).sum(2),
            torch.where(table > own, 1.0, 0.0).sum(2),
            torch.where(table == own, 1.0, 0.0).sum(2),
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
    """Return (11, R, n): moments, mean logits under their own model, and the sums of `_NAMES`."""
    u, v = (a - peak_a).clamp(min=_LOWEST), (b - peak_b).clamp(min=_LOWEST)
    p, q = _exp(u) * scale_a, _exp(v) * scale_b
    d = ((a - from_a) - (b - from_b)) - shift
    x, y = a - mean_a, b - mean_b
    moments = [(x * x).sum(2), (y * y).sum(2), (x * y).sum(2), (u * p).sum(2), (v * q).sum(2)]
    return torch.stack([*moments, *_divergences(p, q, d)])


def _divergences(p: Tensor, q: Tensor, d: Tensor) -> list[Tensor]:
    """Return the sums of `_NAMES`, (R, n) each."""
    s, w, y, size = p + q, p - q, d * d, d.abs()
    near = size < NEAR
    root = torch.sqrt(p * q)
    t = size * _polynomial(T, y)
    even = torch.where(near, s * (y * _polynomial(TX, y)), 0.5 * (w * d))
    odd = torch.where(near, s * (d * y * _polynomial(X_MINUS_T, y)), 0.5 * (s * d) - w)
    h2 = torch.where(near, s * (y * _polynomial(SECH, y)), s - 2.0 * root)
    far_js = s * _log_of_share(s, w.abs()) - torch.minimum(p, q) * size
    js = torch.where(near, s * (y * _polynomial(JS, y)), far_js)
    gap = torch.where(near, s * t, w.abs())
    halves = [0.5 * h2, root, 0.5 * gap, 0.5 * js]
    return [table.sum(2) for table in (even + odd, even - odd, *halves)]


def _exp(x: Tensor) -> Tensor:
    # The compiler writes the result of exp to memory where it is used twice, but not that of exp2.
    return torch.exp2(x * _LOG2_E)


def _log_of_share(s: Tensor, gap: Tensor) -> Tensor:
    """Return ln(1 + gap / s) for 0 <= gap <= s, to 1e-7; eight times as fast as log1p.

    ln(1 + h) = 2 artanh(r) with r = h / (2 + h) <= 1/3.
    """
    r = gap / (2.0 * s + gap + _TINY)
    return 2.0 * r * _polynomial(_ARTANH, r * r)


def _polynomial(coefficients: tuple[float, ...], y: Tensor) -> Tensor:
    """Return c0 + c1 y + c2 y^2 + ..."""
    value = torch.full_like(y, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * y + c
    return value
