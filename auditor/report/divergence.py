"""Where two models differ: the divergence by position and by kind of probe, as tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.outputs import Pair
from auditor.types import Array

_BINS_A_DECADE, _MOST_BINS = 4, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """KL(reference || suspect) over positions, in logarithmic bins."""

    edges: tuple[float, ...]
    """(B + 1,) nats; empty where no position has a positive value."""
    counts: tuple[int, ...]
    """(B,)."""
    zeros: int
    """Positions where both models agree exactly."""
    undefined: int
    """Positions without a finite value: the suspect excludes a token that the reference allows."""
    median: float | None
    """Of the finite values."""

    @property
    def positions(self) -> int:
        """All positions."""
        return sum(self.counts) + self.zeros + self.undefined


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Mean divergence on the probes of one kind: a suite, or a category of one."""

    name: str
    probes: int
    positions: int
    mean: float
    """Nats: mean over probes of the mean over a probe's positions."""
    spread: tuple[float, float]
    """Smallest and largest mean of a probe."""


def kl_histogram(kl: Array) -> Histogram:
    """Return the histogram of (T,) divergences; four bins a decade, at most 24.

    Values are >= 0 up to rounding; one that rounding made negative counts as 0.
    """
    finite = kl[np.isfinite(kl)]
    positive = finite[finite > 0]
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    if len(positive):
        low, high = _decades(float(positive.min()), float(positive.max()))
        bins = min(_BINS_A_DECADE * (high - low), _MOST_BINS)
        exponents = [low + (high - low) * i / bins for i in range(bins + 1)]
        edges = tuple(10.0**exponent for exponent in exponents)
        found, _ = np.histogram(np.log10(positive), bins=exponents)
        counts = tuple(int(count) for count in found)
    return Histogram(
        edges=edges,
        counts=counts,
        zeros=len(finite) - len(positive),
        undefined=len(kl) - len(finite),
        median=float(np.median(np.maximum(finite, 0.0))) if len(finite) else None,
    )


def _decades(low: float, high: float) -> tuple[int, int]:
    first = math.floor(math.log10(low))
    last = math.ceil(math.log10(high))
    return first, max(last, first + 1)


def kl_by_kind(pair: Pair, kinds: Sequence[str]) -> list[Kind]:
    """Return the kinds with a finite position, the most divergent first.

    Probes of weight 0 are left out, as in the measures.

    Args:
        pair: reference and suspect on P probes.
        kinds: (P), the kind of each probe.
    """
    if pair.positions is None:
        return []
    rows: dict[str, list[tuple[float, int]]] = {}
    for probe, kind, (mean, count) in zip(pair.probes, kinds, _probe_means(pair), strict=True):
        if count and probe.weight > 0:
            rows.setdefault(kind, []).append((mean, count))
    found = [_kind(name, probes) for name, probes in rows.items()]
    return sorted(found, key=lambda kind: (-kind.mean, kind.name))


def _probe_means(pair: Pair) -> list[tuple[float, int]]:
    """Return (mean, number of finite positions) of each of the P probes."""
    positions = pair.positions
    if positions is None:
        return []
    kl = np.asarray(positions["kl_ab"])
    probe = np.asarray(positions["probe"])
    known = np.isfinite(kl)
    counts = np.bincount(probe[known], minlength=len(pair.probes))
    sums = np.bincount(probe[known], weights=np.maximum(kl[known], 0.0), minlength=len(pair.probes))
    return [(float(s / c) if c else 0.0, int(c)) for s, c in zip(sums, counts, strict=True)]


def _kind(name: str, found: Sequence[tuple[float, int]]) -> Kind:
    means = [mean for mean, _ in found]
    return Kind(
        name=name,
        probes=len(found),
        positions=sum(count for _, count in found),
        mean=math.fsum(means) / len(means),
        spread=(min(means), max(means)),
    )
