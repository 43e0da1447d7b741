"""Divergences of two distributions from sums over the vocabulary that lose no digits.

With s = p + q, d = log p - log q, x = d / 2 and t = tanh x = (p - q) / s, every divergence is a
sum over tokens of terms that are all >= 0:

    KL(p||q) = sum s (t x + (x - t))       KL(q||p) = sum s (t x - (x - t))
    JS = 1/2 sum s (t x - ln cosh x)       TV = 1/2 sum s |t|       H^2 = 1/2 sum s (1 - sech x)

(kernels.md 2.3 in other variables.) Where |d| < NEAR these are power series in y = d^2, so they
follow from the moments sum s y^k, sum s d y^k, sum s |d| y^k: no logarithm, no cancellation, and
equal logits give exactly 0. Elsewhere p - q has lost few digits and the direct forms are used.
Rows that are far apart as a whole, KL(p||q) + KL(q||p) >= APART, need no series at all: their sums
keep enough digits in the direct forms for all tokens.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NEAR = 0.4
"""Largest |d| for the series; four terms then err by 1e-7."""
APART = 0.1
"""Sum of both KL above which rounding of direct sums is below 1e-6 of each divergence."""
_TINY = 1e-30
_ROOT_SCALE = 2.0**50
_DIRECT_BC = 0.9
"""Squared Hellinger distance up to which 1 - H^2 keeps the digits of the coefficient."""
_LN2 = math.log(2.0)
_SAMPLE = 256
"""Columns that tell nearly always whether |d| exceeds NEAR somewhere."""

# Coefficients of y^1, y^2, ... with y = d^2 = 4 x^2.
TX = (1 / 4, -1 / 48, 2 / 960, -17 / 80640)
"""t x = x^2 - x^4/3 + 2 x^6/15 - 17 x^8/315"""
JS = (1 / 8, -1 / 64, 1 / 576, -17 / 92160)
"""t x - ln cosh x = x^2/2 - x^4/4 + x^6/9 - 17 x^8/360"""
SECH = (1 / 8, -5 / 384, 61 / 46080, -277 / 2064384)
"""1 - sech x = x^2/2 - 5 x^4/24 + 61 x^6/720 - 277 x^8/8064"""
X_MINUS_T = (1 / 24, -2 / 480, 17 / 40320)
"""(x - t) / d: x^3/3 - 2 x^5/15 + 17 x^7/315 over 2 x"""
T = (1 / 2, -1 / 24, 2 / 480, -17 / 40320)
"""t / d, from y^0: (x - x^3/3 + 2 x^5/15 - 17 x^7/315) over 2 x"""
_TERMS_BELOW = ((1e-7, 1), (2e-3, 2), (3e-2, 3), (math.inf, 4))
"""Number of terms that reach float32 precision, by the largest y."""

_NAMES = (
    *(f"even{k}" for k in range(5)),
    *(f"odd{k}" for k in range(1, 4)),
    *(f"size{k}" for k in range(4)),
    *("far_p", "far_q", "far_pd", "far_qd", "far_gap", "far_js"),
    *("far_root", "all_pd", "all_qd", "all_gap", "all_size", "all_h2", "all_js"),
)
_DIRECT = _NAMES.index("far_root")
"""First of the sums that `_direct` writes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """R rows of both models in buffers that may be overwritten, all (R, V) float32."""

    p: Tensor
    q: Tensor
    root_p: Tensor
    root_q: Tensor
    d: Tensor
    s: Tensor
    y: Tensor
    w: Tensor
    v: Tensor


class _Waiting:
    """Copies of p, q and d of at most R rows, and where the rows are."""

    def __init__(self, tables: Tensor) -> None:
        self.tables = tables  # (3, R, V)
        self.rows = torch.zeros(tables.shape[1], dtype=torch.int64, device=tables.device)
        self.count = 0

    def take(self, block: Block, picked: Tensor, start: int) -> None:
        """Copy the picked rows (n,) of a block whose first row is `start`."""
        place = slice(self.count, self.count + len(picked))
        for table, copy in zip((block.p, block.q, block.d), self.tables, strict=True):
            torch.index_select(table, 0, picked, out=copy[place])
        self.rows[place] = picked + start
        self.count = place.stop


class DivergenceSums:
    """The sums of every row, (T,) float32 each, filled block by block of at most R rows."""

    def __init__(self, shape: tuple[int, int, int], full: bool, device: torch.device) -> None:
        """Hold sums of T positions; `shape` is (T, R, V)."""
        positions, rows, vocabulary = shape
        self.full = full
        self._table = torch.zeros((len(_NAMES), positions), device=device)
        self.sums = dict(zip(_NAMES, self._table, strict=True))
        self._tiny = torch.tensor(_TINY, device=device)
        self._rows: slice | Tensor = slice(0, 0)
        self._waiting = _Waiting(torch.empty((3, rows, vocabulary), device=device))

    def add(self, block: Block, rows: slice) -> bool:
        """Set the sums of `rows` from p, q and d; False, with sums of no use, if d is too large.

        Rows that need both forms wait until there is a block of them; `finish` adds the last.
        Everything in the block is overwritten.
        """
        self._rows = rows
        if _largest(block.d[:, :_SAMPLE]) < NEAR:
            largest = _largest(block.d)
            if largest < NEAR:
                torch.add(block.p, block.q, out=block.s)
                self._near(block, _terms_for(largest))
                return True
        apart = self._apart(block, rows)
        close = torch.nonzero(~apart)[:, 0]
        if len(close) and not math.isfinite(_largest(block.d) ** 2):
            return False
        if len(close) == len(block.p):
            self._both_forms(block)
            return True
        if len(close):
            if self._waiting.count + len(close) > len(self._waiting.rows):
                self.finish(block)
                self._rows = rows
            self._waiting.take(block, close, rows.start)
        self._direct(block)
        if len(close):
            self._table[_DIRECT:, rows] *= apart
        return bool(torch.isfinite(self._table[_DIRECT:, rows].sum()))

    def finish(self, scratch: Block) -> None:
        """Add the rows that wait; s, y, w and v of a block are overwritten."""
        waiting = self._waiting
        count = waiting.count
        if count:
            self._rows = waiting.rows[:count]
            p, q, d = waiting.tables[:, :count]
            s, y, w, v = (table[:count] for table in (scratch.s, scratch.y, scratch.w, scratch.v))
            self._both_forms(Block(p=p, q=q, root_p=p, root_q=q, d=d, s=s, y=y, w=w, v=v))
            waiting.count = 0

    def _both_forms(self, block: Block) -> None:
        """Add series over near tokens and direct sums over the others."""
        torch.mul(block.d, block.d, out=block.y)
        torch.add(block.p, block.q, out=block.s)
        self._far(block)
        self._near(block, len(TX))

    def _sum(self, name: str, table: Tensor) -> None:
        if isinstance(self._rows, slice):
            torch.sum(table, 1, out=self.sums[name][self._rows])
        else:
            self.sums[name][self._rows] = table.sum(1)

    def _apart(self, block: Block, rows: slice) -> Tensor:
        """Set the sums of (sqrt p - sqrt q)^2; return the rows (R,) for which direct sums do.

        For small differences it is a quarter of the sum of both KL, and never more than half.
        """
        self._sum("all_h2", block.root_p.sub_(block.root_q).square_())
        return self.sums["all_h2"][rows] >= APART / 4

    def _direct(self, block: Block) -> None:
        """Add direct sums over all tokens of all rows."""
        p, q, d = block.p, block.q, block.d
        if float(self.sums["all_h2"][self._rows].amax()) > 2 * _DIRECT_BC:
            self._far_root(block)
        if self.full:
            torch.add(p, q, out=block.s)
        gap = torch.sub(p, q, out=block.w)
        self._sum("all_gap", gap)
        self._sum("all_pd", p.mul_(d))
        self._sum("all_qd", q.mul_(d))
        if self.full:
            self._direct_js(block)

    def _direct_js(self, block: Block) -> None:
        """Add sum |p - q| and twice the Jensen-Shannon divergence, from w = p - q.

        With h = |t| = |p - q| / s each token adds s (ln(1 + h) - (1 - h) |d| / 2) / 2.
        """
        gap, size = block.w.abs_(), block.d.abs_()
        self._sum("all_size", gap)
        h = gap.div_(block.s)
        gain = torch.log1p(h, out=block.v)
        gain.addcmul_(size, h.sub_(1.0), value=0.5)
        self._sum("all_js", gain.mul_(block.s))

    def _near(self, block: Block, terms: int) -> None:
        """Add the moments of y and d under weights s; few terms also keep clear of denormals."""
        s, d, w, v = block.s, block.d, block.w, block.v
        y = torch.mul(d, d, out=block.y)
        self._sum("even0", s)
        torch.mul(s, d, out=v)
        torch.mul(s, y, out=w)
        for k in range(1, terms + 1):
            self._sum(f"even{k}", w)
            if k < terms:
                w.mul_(y)
        for k in range(terms):
            if k > 0:
                self._sum(f"odd{k}", v.mul_(y))
            if self.full:
                self._sum(f"size{k}", torch.abs(v, out=w))
        if terms == 1:
            self._sum("odd1", v.mul_(y))

    def _far(self, block: Block) -> None:
        """Add the direct sums over |d| >= NEAR and take these tokens out of the weights s."""
        p, q, d, y, w = block.p, block.q, block.d, block.y, block.w
        torch.ge(y, NEAR * NEAR, out=w)
        p.mul_(w)
        q.mul_(w)
        self._sum("far_p", p)
        self._sum("far_q", q)
        self._sum("far_pd", torch.mul(p, d, out=w))
        self._sum("far_qd", torch.mul(q, d, out=w))
        self._far_root(block)
        far = torch.add(p, q, out=block.v)
        block.s.sub_(far)  # exact: an entry is removed whole or kept whole
        if self.full:
            gap = torch.sub(p, q, out=w).abs_()
            self._sum("far_gap", gap)
            self._far_js(block, far, gap)

    def _far_root(self, block: Block) -> None:
        """Add sum of sqrt(p q), scaled: (2^100 p) q is a normal number where p q would not be."""
        scaled = torch.addcmul(self._tiny, block.p, block.q, value=_ROOT_SCALE**2, out=block.w)
        # torch.sqrt is several times slower on the zeros of masked tokens; rsqrt is not
        inverse = torch.rsqrt(scaled, out=block.v)
        self._sum("far_root", scaled.mul_(inverse))

    def _far_js(self, block: Block, far: Tensor, gap: Tensor) -> None:
        """Add sum of s ln(s / (2 max(p, q))) + min(p, q) |d|, where 2 max = far + gap."""
        loss = torch.sub(far, gap, out=block.q).mul_(torch.abs(block.d, out=block.p))
        # 1/2 <= s / (2 max) <= 1; the clamps only act where both are 0 and so is the factor s
        share = torch.div(far, gap.add_(far).clamp_(min=_TINY), out=gap).clamp_(min=0.5)
        self._sum("far_js", loss.mul_(0.5).add_(share.log_().mul_(far)))

    def fields(self) -> dict[str, Tensor]:
        """Return kl_ab, kl_ba, log_bc, and in the full tier js, tv, hellinger2; float64."""
        sums = {name: table.double() for name, table in self.sums.items()}
        sums["far_root"] /= _ROOT_SCALE
        symmetric = _series(TX, sums, "even", 1)
        skew = _series(X_MINUS_T, sums, "odd", 1)
        gap = sums["far_p"] - sums["far_q"] + sums["all_gap"]
        pd, qd = sums["far_pd"] + sums["all_pd"], sums["far_qd"] + sums["all_qd"]
        hellinger2 = _series(SECH, sums, "even", 1) / 2
        bc = sums["even0"] / 2 - hellinger2 + sums["far_root"]
        far = (sums["far_p"] + sums["far_q"]) / 2 - sums["far_root"]
        direct = sums["all_h2"] / 2  # not 0 in rows that have no other sum
        hellinger2 = torch.where(direct > 0, direct, hellinger2 + far).clamp(0.0, 1.0)
        fields = {
            "kl_ab": (symmetric + skew + pd - gap).clamp(min=0.0),
            "kl_ba": (symmetric - skew - qd + gap).clamp(min=0.0),
            "log_bc": torch.where(hellinger2 <= _DIRECT_BC, torch.log1p(-hellinger2), bc.log()),
        }
        if self.full:
            js = _series(JS, sums, "even", 1) - sums["far_js"] + sums["all_js"]
            tv = _series(T, sums, "size", 0) + sums["far_gap"] + sums["all_size"]
            fields["js"] = (js / 2).clamp(0.0, _LN2)
            fields["tv"] = (tv / 2).clamp(0.0, 1.0)
            fields["hellinger2"] = hellinger2
        return fields


def _series(
    coefficients: tuple[float, ...], sums: dict[str, Tensor], kind: str, first: int
) -> Tensor:
    terms = [c * sums[f"{kind}{first + i}"] for i, c in enumerate(coefficients)]
    return torch.stack(terms).sum(0)


def _largest(table: Tensor) -> float:
    """Return the largest absolute value."""
    low, high = torch.aminmax(table)
    return max(-float(low), float(high))


def _terms_for(largest: float) -> int:
    """Return how many terms of a series are needed where |d| is at most `largest`."""
    return next(n for limit, n in _TERMS_BELOW if largest * largest < limit)
