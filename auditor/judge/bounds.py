"""How large a likelihood ratio its controls can support: empirical bounds, families as units.

A calibrated score can be extrapolated to any size; the data cannot. The empirical upper and lower
bounds (ELUB: Vergeer, van Es, de Jongh, Alberink & Stoel 2016, Science & Justice 56, 482-491) ask
at each threshold whether deciding by the likelihood ratio costs less than ignoring it, after one
misleading family has been added on each side: the one that a larger sample could have shown. With
perfect separation and n families on each side the bound is about n; see `largest_lr`.

Agrees with `lir` (its ``elub``), which the tests compare with.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.types import Array

STEP = 0.01
"""Accuracy of a bound, in log10."""
FEWEST_FAMILIES = 10
"""With fewer in either class no likelihood ratio is stated: the rank is (evidence.md 3.4)."""
_EXTREME = 9.0
"""log10 LRs beyond this, infinite ones too, count as this large; no bound comes near it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The range of log10 likelihood ratios that a control population supports."""

    lower: float
    """<= 0."""
    upper: float
    """>= 0."""
    families: tuple[int, int]
    """Control families where the first and where the second proposition holds."""

    def clip(self, log10_lr: float) -> float:
        """Return the value, moved to the nearer bound where it is outside."""
        return min(max(log10_lr, self.lower), self.upper)

    def reached(self, log10_lr: float) -> bool:
        """Return whether the value is at a bound or beyond it: then the bound is what is known."""
        return not self.lower < log10_lr < self.upper


def elub(first: Array, second: Array) -> tuple[float, float]:
    """Return the (lower, upper) bound of log10 likelihood ratios, on a grid of `STEP`.

    Args:
        first: (n,) log10 LR where the first proposition holds, infinities allowed.
        second: (m,) the same where the second holds.

    Returns:
        lower <= 0 <= upper. A system that is never better than ignoring it has (0, 0).

    Raises:
        UndefinedError: a class is empty or holds NaN.
    """
    first, second = _sanitised(first), _sanitised(second)
    both = np.concatenate([first, second])
    # Beyond these no threshold can pay off: see `largest_lr`.
    low = max(both.min(), -math.log10(len(first) + 1))
    high = min(both.max(), math.log10(len(second) + 1))
    below = min(0, int(low // STEP))
    above = max(0, int(high // STEP) + 1)
    grid = np.linspace(below * STEP, above * STEP, above - below + 1)
    useful = _cost_of_ignoring(grid) / _cost_of_using(first, second, grid) >= 1
    useless_left = grid[(grid <= 0) & ~useful]
    useless_right = grid[(grid >= 0) & ~useful]
    lower = np.max(useless_left + STEP, initial=grid[0])
    upper = np.min(useless_right - STEP, initial=grid[-1])
    # Multiples of the step, so that a file holds -1.98 and not -1.9800000000000002.
    return round(min(float(lower), 0.0), 9), round(max(float(upper), 0.0), 9)


def family_bounds(
    log10_lr: Sequence[float], first: Sequence[bool], families: Sequence[str]
) -> Bounds:
    """Return the bounds with one value a family: that of its most misleading member.

    Args:
        log10_lr: of each control, from a calibration that did not see its family.
        first: whether the first proposition holds for it; otherwise the second does.
        families: the family of each.

    Raises:
        UndefinedError: fewer than `FEWEST_FAMILIES` in a class, or a family in both.
    """
    rows = list(zip(log10_lr, first, families, strict=True))
    lowest = _by_family(((value, family) for value, holds, family in rows if holds), min)
    highest = _by_family(((value, family) for value, holds, family in rows if not holds), max)
    shared = sorted(lowest.keys() & highest.keys())
    if shared:
        raise UndefinedError(
            f"family {shared[0]!r} is in both classes",
            hint="a family that is linked and unlinked tells nothing apart: leave it out",
        )
    check_families(len(lowest), len(highest))
    lower, upper = elub(np.array([*lowest.values()]), np.array([*highest.values()]))
    return Bounds(lower=lower, upper=upper, families=(len(lowest), len(highest)))


def check_families(first: int, second: int) -> None:
    """Refuse a likelihood ratio that too few families would carry.

    Raises:
        UndefinedError: fewer than `FEWEST_FAMILIES` in a class.
    """
    if min(first, second) < FEWEST_FAMILIES:
        raise UndefinedError(
            f"insufficient controls: {first} and {second} families in the two classes, a "
            f"likelihood ratio needs {FEWEST_FAMILIES} in each",
            hint="state the rank among the controls instead, or add control families",
        )


def largest_lr(first: int, second: int) -> float:
    """Return the largest LR that perfect separation supports, before the grid of `STEP`.

    With n and m families the costs are ``1/(n + 1) + t/(m + 1)`` against 1, so the threshold t pays
    off up to ``(m + 1) n / (n + 1)``: m where n = m. For LRs under 1 swap the arguments.
    """
    return (second + 1) * first / (first + 1)


def _by_family(
    rows: Iterable[tuple[float, str]], pick: Callable[[float, float], float]
) -> dict[str, float]:
    found: dict[str, float] = {}
    for value, family in rows:
        found[family] = pick(found.get(family, value), value)
    return dict(sorted(found.items()))


def _sanitised(values: Array) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        raise UndefinedError("no control in one of the two classes")
    if np.isnan(values).any():
        raise UndefinedError("a log10 likelihood ratio is NaN")
    return np.clip(values, -_EXTREME, _EXTREME)


def _cost_of_ignoring(grid: Array) -> Array:
    """Return the expected cost of a constant LR of 1 at each log10 threshold."""
    return np.where(grid < 0, 10.0**grid, 1.0)


def _cost_of_using(first: Array, second: Array, grid: Array) -> Array:
    """Return the expected cost of deciding by the LR, one misleading family added on each side."""
    missed = 1.0 - (first[:, None] > grid).sum(axis=0) / (len(first) + 1)
    accused = ((second[:, None] > grid).sum(axis=0) + 1) / (len(second) + 1)
    return missed + 10.0**grid * accused
