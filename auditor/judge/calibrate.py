"""From a score to a likelihood ratio: how much more often linked controls score so than unlinked.

Logistic regression is the calibrator: it has two parameters, stays monotone and never gives an
infinite ratio. Kernel densities are a cross-check of its shape; pool-adjacent-violators (PAV) is
for diagnosis only, because on few controls it gives ratios of 0 and infinity (evidence.md 3.4).
Both classes weigh the same and so do the families within a class, so the prior odds of the sample
are removed and many checkpoints of one training run do not outvote other runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.types import Array, frozen_array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Scores of controls whose class is known."""

    values: Array
    """(n,) float64."""
    first: Array
    """(n,) bool: the first proposition holds (otherwise the second)."""
    weights: Array
    """(n,) float64: each class sums to half of the number of families, families within it alike."""

    def __post_init__(self) -> None:
        for name in ("values", "first", "weights"):
            object.__setattr__(self, name, frozen_array(getattr(self, name)))


def scored(values: Array, first: Sequence[bool], families: Sequence[str] | None = None) -> Scored:
    """Return the scores with their weights; without `families` each score is its own family.

    Raises:
        UndefinedError: a class is empty, a score is NaN, or a family is in both classes.
    """
    values = np.asarray(values, dtype=np.float64)
    holds = np.asarray(first, dtype=bool)
    names = [str(i) for i in range(len(values))] if families is None else list(families)
    if np.isnan(values).any():
        raise UndefinedError("a control's score is NaN", hint="leave that control out")
    if holds.all() or not holds.any():
        raise UndefinedError("no control in one of the two classes")
    one, other = ({n for n, h in zip(names, holds, strict=True) if h == side} for side in SIDES)
    if shared := sorted(one & other):
        raise UndefinedError(f"family {shared[0]!r} is in both classes")
    return Scored(values=values, first=holds, weights=family_weights(holds, names))


SIDES = (True, False)


def family_weights(classes: Array, families: Sequence[str]) -> Array:
    """Return (n,) weights: equal over classes, over families in a class, over members in a family.

    They sum to the number of families.
    """
    keys = list(zip(np.asarray(classes).tolist(), families, strict=True))
    members: dict[tuple[object, str], int] = {}
    for key in keys:
        members[key] = members.get(key, 0) + 1
    in_class: dict[object, int] = {}
    for label, _ in members:
        in_class[label] = in_class.get(label, 0) + 1
    share = len(members) / len(in_class)
    return np.array([share / in_class[label] / members[label, family] for label, family in keys])


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticCalibration:
    """``ln LR = intercept + slope * score``."""

    intercept: float
    slope: float

    def log10_lr(self, scores: Array) -> Array:
        """Return (n,) base-10 logarithms of the likelihood ratio of each score."""
        scores = np.asarray(scores, dtype=np.float64)
        return (self.intercept + self.slope * scores) / math.log(10.0)


def fit_logistic(
    controls: Scored, *, strength: float = 1.0, signed: bool = True
) -> LogisticCalibration:
    """Return the calibration by class-balanced logistic regression with an L2 penalty.

    Brümmer & du Preez 2006; Morrison 2013. Equal to ``lir``'s LogitCalibrator on scores
    of balanced mean 0 and balanced standard deviation 1; scores are brought to that scale first, so
    that the unit of a score cannot change the penalty.

    Args:
        controls: of both classes.
        strength: of the data against the penalty, scikit-learn's C.
        signed: higher scores must speak for the first proposition; a slope that would be negative
            is 0 then, and every LR is 1.

    Raises:
        UndefinedError: a score is infinite, or all controls score the same.
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = standardisation(controls.values, controls.weights)
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000)
    # Equal class weights, so the intercept holds no prior odds.
    model.fit(
        ((controls.values - mean) / scale)[:, None], controls.first, sample_weight=controls.weights
    )
    slope = float(model.coef_[0, 0])
    if signed and slope < 0:
        # The problem is convex and, balanced, best at intercept 0 where the slope is 0.
        return LogisticCalibration(intercept=0.0, slope=0.0)
    intercept = float(model.intercept_[0]) - slope * mean / scale
    return LogisticCalibration(intercept=intercept, slope=slope / scale)


def standardisation(values: Array, weights: Array) -> tuple[float, float]:
    """Return the weighted mean and standard deviation (divisor: sum of weights) of (n,) values.

    Raises:
        UndefinedError: a value is not finite, or all are equal.
    """
    if not np.isfinite(values).all():
        raise UndefinedError("a control's score is infinite", hint="bound it where it is computed")
    mean = float((weights * values).sum() / weights.sum())
    scale = math.sqrt(float((weights * (values - mean) ** 2).sum() / weights.sum()))
    if values.max() == values.min() or not scale > 0:
        raise UndefinedError("all controls have the same score: it tells nothing apart")
    return mean, scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelCalibration:
    """The ratio of two Gaussian kernel densities, one for each class."""

    controls: Scored
    bandwidths: tuple[float, float]
    """Of the first and of the second class, in the unit of the score."""

    def log10_lr(self, scores: Array) -> Array:
        """Return (n,) base-10 logarithms of the ratio of densities.

        Far from all controls the nearer class wins without limit: a cross-check, not a result.
        """
        scores = np.asarray(scores, dtype=np.float64)
        one, other = (
            self._log_density(scores, self.controls.first == side, width)
            for side, width in zip(SIDES, self.bandwidths, strict=True)
        )
        return (one - other) / math.log(10.0)

    def _log_density(self, scores: Array, rows: Array, width: float) -> Array:
        from scipy.special import logsumexp

        centres, weights = self.controls.values[rows], self.controls.weights[rows]
        exponents = -0.5 * ((scores[:, None] - centres) / width) ** 2  # (n, m)
        return logsumexp(exponents, axis=1, b=weights / weights.sum()) - math.log(width)


def fit_kernel(controls: Scored) -> KernelCalibration:
    """Return the densities with Silverman's bandwidth, ``sd (4 / 3n)^(1/5)`` of each class.

    Silverman 1986, equation 3.28. The sd has divisor n, as in ``lir``, and n is the effective
    number of scores (Kish 1965: ``(sum w)^2 / sum w^2``), so that members of one family count less.

    Raises:
        UndefinedError: a score is infinite, or all scores of a class are equal.
    """
    widths = []
    for side in SIDES:
        rows = controls.first == side
        weights = controls.weights[rows]
        _, scale = standardisation(controls.values[rows], weights)
        count = float(weights.sum() ** 2 / (weights**2).sum())
        widths.append(scale * (4.0 / (3.0 * count)) ** 0.2)
    return KernelCalibration(controls=controls, bandwidths=(widths[0], widths[1]))


def pav_log10_lr(controls: Scored) -> Array:
    """Return (n,) log10 LRs of the controls by pool-adjacent-violators: for diagnosis only.

    The best monotone calibration of these very controls (Brümmer & du Preez 2006), so
    it is optimistic; at the ends it is -inf and +inf. Infinite scores are allowed.
    """
    from scipy.optimize import isotonic_regression

    # One point a distinct score. A monotone fit depends on their order alone, so they may be
    # infinite.
    values, point = np.unique(controls.values, return_inverse=True)
    weight = np.bincount(point, controls.weights, len(values))
    holds = np.bincount(point, controls.weights * controls.first, len(values))
    first = isotonic_regression(holds / weight, weights=weight).x[point]
    with np.errstate(divide="ignore"):
        return np.log10(first) - np.log10(1.0 - first)
