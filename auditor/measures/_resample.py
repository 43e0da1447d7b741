"""Intervals: how far a value would move with other probes of the same kind.

Probes are resampled, not repeats or positions: what belongs to one probe shares its difficulty.
The interval says nothing about other models; error rates use model families (auditor.judge).

Why two methods. The mean of per-probe values takes the percentile bootstrap (Efron & Tibshirani
1993, chapter 13). A pooled statistic compares probes with each other, and a bootstrap draws some
probes twice: the copies are spurious pairs (at distance 0, each other's nearest neighbour) that
bias U-statistics. So it is recomputed on random halves without repetition (Politis, Romano &
Wolf 1999, chapter 2). For a mean, Var(half - all) = sigma^2/m (1 - m/n), which at m = n/2 is
sigma^2/n, the variance of the mean itself; deviations are scaled by sqrt(m / (n - m)) where n is
odd, and turned around the value: [value - upper quantile, value - lower quantile].

Draws come from RandomState, whose stream is frozen across numpy versions.
"""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from auditor.canon import canonical_json
from auditor.errors import UndefinedError
from auditor.types import Array

FEWEST = 8
"""With fewer probes no interval is given: the resamples would mostly repeat each other."""
LEVEL = (2.5, 97.5)
"""Percentiles: intervals are at 95 %."""
_BLOCK = 1 << 18
"""Draws of a mean held at once, 2 MiB."""
_CELLS = 1 << 20
"""Cells, subsets times probes, that are given to a statistic at once; 8 MiB in float64."""
_DRAWN = 1 << 18
"""Cells that are drawn at once."""

Interval = tuple[float, float]


def derived_seed(seed: int, name: str) -> int:
    """Return a 32-bit seed, so that a measure's draws do not depend on which others run."""
    return int.from_bytes(hashlib.sha256(canonical_json([str(seed), name])).digest()[:4], "big")


def mean_interval(values: Array, *, seed: int, resamples: int) -> Interval | None:
    """Return the percentile bootstrap interval of the mean of (n,) values; None for n < FEWEST."""
    n = len(values)
    if n < FEWEST or not resamples:
        return None
    random = np.random.RandomState(seed)
    means = []
    # Blocks bound the memory; the stream, and so the result, does not depend on their size.
    for start in range(0, resamples, step := max(1, _BLOCK // n)):
        rows = random.randint(0, n, size=(min(step, resamples - start), n))
        means.append(values[rows].mean(axis=1))
    low, high = np.percentile(np.concatenate(means), LEVEL)
    return float(low), float(high)


def half_samples(n: int, *, seed: int, resamples: int) -> Array:
    """Return (resamples, n) bool, each row a random n // 2 of the n probes."""
    return np.concatenate(list(half_sample_blocks(n, seed=seed, resamples=resamples)))


def half_sample_blocks(n: int, *, seed: int, resamples: int) -> Iterator[Array]:
    """Yield the rows of `half_samples`, as many at once as bound the memory."""
    random = np.random.RandomState(seed)
    for start in range(0, resamples, step := max(1, _CELLS // n)):
        yield _drawn_halves(random, min(step, resamples - start), n)


def _drawn_halves(random: np.random.RandomState, rows: int, n: int) -> Array:
    chosen = np.zeros((rows, n), dtype=bool)
    for start in range(0, rows, step := max(1, _DRAWN // n)):
        part = chosen[start : start + step]
        order = np.argsort(random.random_sample(part.shape), axis=1, kind="stable")
        np.put_along_axis(part, order[:, : n // 2], True, axis=1)
    return chosen


def half_sample_interval(
    value: float, n: int, statistic: Callable[[Array], Array], *, seed: int, resamples: int
) -> Interval | None:
    """Return the interval of a pooled statistic; None for n < FEWEST.

    Args:
        value: the statistic on all n probes.
        n: number of probes.
        statistic: (B, n) bool -> (B,), the statistic on each subset; a part of them at a time.
        seed: of the draws.
        resamples: number of subsets, B.

    None, too, where the statistic is undefined on a half: then probes are too few for it.
    """
    if n < FEWEST or not resamples:
        return None
    try:
        blocks = half_sample_blocks(n, seed=seed, resamples=resamples)
        halves = np.concatenate([statistic(block) for block in blocks])
    except UndefinedError:
        return None
    if not np.isfinite(halves).all():
        return None
    m = n // 2
    low, high = np.percentile((halves - value) * np.sqrt(m / (n - m)), LEVEL)
    # A statistic that is biased on small subsets may shift both ends to one side of the value.
    return min(value - float(high), value), max(value - float(low), value)
