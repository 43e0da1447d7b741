"""What dose of imitation would have been seen: without it, finding nothing says nothing.

The chance that a model of some dose scores above the threshold of the decision, from controls of
graded dose (`auditor.judge.dose`): Student's t around the interpolated mean, so that few controls
give less power and not more certainty. Beside the curve stand the plain counts at each graded dose.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.judge.bootstrap import LEVEL, Draws, family_counts
from auditor.judge.dose import (
    DoseCurve,
    DosedScore,
    dose_curve,
    dose_grid,
    family_means,
    monotone,
)
from auditor.judge.rates import Rate, rate
from auditor.types import Array


def z_threshold(alpha: float, families: int) -> float:
    """Return the z among K control families above which the predictive p is under `alpha`.

    Raises:
        UndefinedError: fewer than 3 families, or `alpha` is not within (0, 1).
    """
    from scipy.special import stdtrit

    if families < 3 or not 0.0 < alpha < 1.0:
        raise UndefinedError(f"no threshold at {alpha} with {families} families")
    return float(-stdtrit(families - 1, alpha)) * math.sqrt(1.0 + 1.0 / families)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowerCurve:
    """The chance of detection at each dose, with its interval over control families."""

    threshold: float
    doses: Array
    """(m,) ascending, within the graded range."""
    power: Array
    """(m,) non-decreasing, in [0, 1]."""
    lower: Array
    """(m,) 95 % interval, by resampling families."""
    upper: Array
    seen: tuple[tuple[float, Rate], ...]
    """At each graded dose: families above the threshold, of all."""
    resampled: Array
    """(B, m) the curve of each resample."""
    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDose:
    """The smallest dose that would have been seen."""

    dose: float
    interval: tuple[float, float]
    """95 %; its end is 1 where a resample does not reach the power at any graded dose."""
    power: float

    @property
    def sentence(self) -> str:
        """The statement that goes with a finding of no link."""
        return (
            f"Imitation of at least {math.ceil(self.dose * 100 - 1e-9)} % of the training would "
            f"have been seen in {self.power:.0%} of models made by the controls' recipe "
            f"(95 % interval of the dose: {self.interval[0]:.0%} to {self.interval[1]:.0%})."
        )


def power_curve(controls: Sequence[DosedScore], threshold: float, draws: Draws) -> PowerCurve:
    """Return the power at each dose of the graded range.

    Args:
        controls: of graded dose, unlinked ones (dose 0) among them where there are any.
        threshold: a score above it counts as detection, in the unit of the scores.
        draws: of the family bootstrap. Families are drawn among those with the same doses, so that
            each graded dose keeps its number.

    Raises:
        UndefinedError: `dose_curve` cannot be computed, or the threshold is not finite.
    """
    if not math.isfinite(threshold):
        raise UndefinedError(f"threshold {threshold}: no score can be compared with it")
    curve = dose_curve(controls)
    grid = dose_grid(curve)
    used = [control for control in family_means(controls) if control.dose in curve.doses]
    drawn = _resampled(used, curve, draws)
    resampled = np.stack([_power(one, grid, threshold) for one in drawn])
    lower, upper = np.percentile(resampled, [50 * (1 - LEVEL), 50 * (1 + LEVEL)], axis=0)
    return PowerCurve(
        threshold=threshold,
        doses=grid,
        power=_power(curve, grid, threshold),
        lower=lower,
        upper=upper,
        seen=tuple((float(dose), _seen(used, dose, threshold)) for dose in curve.doses),
        resampled=resampled,
        limits=curve.limits,
    )


def smallest_seen_dose(curve: PowerCurve, power: float = 0.9) -> SeenDose:
    """Return the smallest dose from which on the power is at least `power`.

    Raises:
        UndefinedError: not even the largest graded dose would be seen with that power.
    """
    found = _first(curve.power, curve.doses, power)
    if found is None:
        raise UndefinedError(
            f"a dose of {curve.doses[-1]:.0%} would be seen with power {curve.power[-1]:.2f} only, "
            f"under {power:g}",
            hint="more and closer controls, or more samples, raise the power",
        )
    reached = [_first(row, curve.doses, power) for row in curve.resampled]
    doses = [1.0 if dose is None else dose for dose in reached]
    low, high = np.percentile(doses, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return SeenDose(dose=found, interval=(float(low), float(high)), power=power)


def _first(power: Array, doses: Array, wanted: float) -> float | None:
    reached = np.flatnonzero(power >= wanted)
    return float(doses[reached[0]]) if len(reached) else None


def _power(curve: DoseCurve, grid: Array, threshold: float) -> Array:
    from scipy.special import stdtr

    new = curve.at(grid)
    chance = stdtr(new.freedom, (new.mean - threshold) / new.spread)
    # A dose counts as seen only if all larger ones are: a spread that grows must not look like
    # power that falls and rises again.
    return np.flip(np.minimum.accumulate(np.flip(chance)))


def _seen(controls: Sequence[DosedScore], dose: float, threshold: float) -> Rate:
    above = [control.score > threshold for control in controls if control.dose == dose]
    return rate(sum(above), len(above))


def _resampled(controls: Sequence[DosedScore], curve: DoseCurve, draws: Draws) -> list[DoseCurve]:
    """Return a curve for each draw of families."""
    doses_of: dict[str, list[float]] = {}
    for control in controls:
        doses_of.setdefault(control.family, []).append(control.dose)
    families = [control.family for control in controls]
    kinds = np.array([str(doses_of[family]) for family in families])
    counts = family_counts(kinds, families, draws)
    return [_redrawn(controls, row, curve) for row in counts]


def _redrawn(controls: Sequence[DosedScore], counts: Array, curve: DoseCurve) -> DoseCurve:
    doses = np.array([control.dose for control in controls])
    scores = np.repeat([control.score for control in controls], counts)
    doses = np.repeat(doses, counts)
    groups = [scores[doses == dose] for dose in curve.doses]
    spreads = np.array([group.std(ddof=1) for group in groups])
    return DoseCurve(
        doses=curve.doses,
        means=monotone(np.array([group.mean() for group in groups]), curve.families),
        # One family drawn every time has no spread: that dose keeps the one it was measured with.
        spreads=np.where(spreads > 0, spreads, curve.spreads),
        families=curve.families,
    )
