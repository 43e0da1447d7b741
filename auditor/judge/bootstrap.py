"""Intervals by resampling what could have been different: model families, and probes.

Draws come from RandomState, whose stream is frozen across numpy versions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from auditor.errors import UndefinedError
from auditor.judge.calibrate import SIDES, Scored
from auditor.judge.null import FEWEST as FEWEST_FAMILIES
from auditor.types import Array

FEWEST_PROBES = 8
LEVEL = 0.95
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How often, and from which seed, an interval is resampled."""

    seed: int
    resamples: int = 1000


def contrast_interval(values: Array, draws: Draws) -> Interval:
    """Return the 95 % interval of the suspect's mean minus the mean of its controls.

    Two-way (pigeonhole) bootstrap (Owen 2007): probes and control families are drawn with
    repetition, independently. Probes alone would treat the controls as all the models there could
    be, and the spread between models is the larger part (statistics.md, Appendix B.6). The
    percentiles are expanded (Hesterberg 2015): as far out as Student's t with K - 1 degrees of
    freedom asks, since K is small.

    The interval is of the contrast with the population's mean; how far a single unlinked model may
    lie from that mean is the predictive p's question (`auditor.judge.null`).

    Args:
        values: (K + 1, P) a value for each model and probe: row 0 the suspect, then one row a
            control family. A probe where any value is NaN is left out.
        draws: seed and number of resamples.

    Raises:
        UndefinedError: fewer than 3 families or 8 complete probes.
    """
    values = values[:, np.isfinite(values).all(axis=0)]
    families, probes = values.shape[0] - 1, values.shape[1]
    if families < FEWEST_FAMILIES or probes < FEWEST_PROBES:
        raise UndefinedError(
            f"{families} control families and {probes} probes that all models have a value for: "
            f"an interval needs {FEWEST_FAMILIES} and {FEWEST_PROBES}"
        )
    random = np.random.RandomState(draws.seed)
    rows = _drawn(random, families, draws.resamples)  # (B, K)
    columns = _drawn(random, probes, draws.resamples)  # (B, P)
    totals = np.einsum("mp,bp->bm", values, columns)  # (B, K + 1)
    contrasts = (totals[:, 0] - (totals[:, 1:] * rows).sum(axis=1) / families) / probes
    low, high = np.percentile(contrasts, _expanded_percentiles(families))
    return float(low), float(high)


def _drawn(random: np.random.RandomState, count: int, resamples: int) -> Array:
    """Return (resamples, count) how often each of `count` things was drawn with repetition."""
    picks = random.randint(0, count, size=(resamples, count))
    offset = np.arange(resamples)[:, None] * count
    return np.bincount((picks + offset).ravel(), minlength=resamples * count).reshape(-1, count)


def _expanded_percentiles(count: int) -> tuple[float, float]:
    from scipy.special import ndtr, stdtrit

    # A percentile bootstrap of n values is too short by sqrt((n - 1)/n) and by z in place of t.
    quantile = stdtrit(count - 1, (1 + LEVEL) / 2) * math.sqrt(count / (count - 1))
    tail = 100.0 * float(ndtr(-quantile))
    return tail, 100.0 - tail


def family_counts(classes: Array, families: Sequence[str], draws: Draws) -> Array:
    """Return (resamples, n) how often each control was drawn, families being drawn within classes.

    Members of one family are drawn together, and each class keeps its number of families.
    """
    random = np.random.RandomState(draws.seed)
    keys = list(zip(np.asarray(classes).tolist(), families, strict=True))
    position = {key: column for column, key in enumerate(sorted(set(keys), key=repr))}
    labels = [label for label, _ in position]
    drawn = np.zeros((draws.resamples, len(position)), dtype=np.int64)
    for label in sorted(set(labels), key=repr):
        columns = np.array([i for i, own in enumerate(labels) if own == label])
        drawn[:, columns] = _drawn(random, len(columns), draws.resamples)
    return drawn[:, [position[key] for key in keys]]


def family_interval(
    statistic: Callable[[Scored], float],
    controls: Scored,
    families: Sequence[str],
    draws: Draws,
) -> Interval:
    """Return the 95 % percentile interval of a statistic over families drawn with repetition.

    Where the classes are perfectly separated no resample can show an overlap, and the interval is a
    point; `auditor.judge.rates.auc_interval` says what to give then.
    """
    found = []
    for counts in family_counts(controls.first, families, draws):
        kept = counts > 0
        found.append(
            statistic(
                replace(
                    controls,
                    values=controls.values[kept],
                    first=controls.first[kept],
                    weights=(controls.weights * counts)[kept],
                )
            )
        )
    low, high = np.percentile(found, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def class_families(controls: Scored, families: Sequence[str]) -> tuple[int, int]:
    """Return the number of families of the first and of the second class."""
    one, other = (
        len({f for f, holds in zip(families, controls.first, strict=True) if holds == side})
        for side in SIDES
    )
    return one, other
