"""What the tests for one and the same model share: draws that belong to probes, and the p-value.

Every relabelling is drawn a probe at a time from the probe's own id, so the p-value depends neither
on the order of the probes nor on which of them are left out.
"""

import math

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._resample import derived_seed
from auditor.types import Array, Probe

RELABELLINGS = 9999
"""B: the smallest p-value is 1 / (B + 1) = 1e-4."""
FEWEST_PROBES = 8
"""With fewer, hardly any relabelling differs from what was observed."""
LOWEST = -math.log10(RELABELLINGS + 1)
"""Base-10 logarithm of the smallest p-value."""


def check_probes(count: int, what: str) -> None:
    """Refuse a test on too few probes.

    Raises:
        UndefinedError: there are fewer than 8.
    """
    if count < FEWEST_PROBES:
        noun = "probe has" if count == 1 else "probes have"
        raise UndefinedError(f"{count} {noun} {what}; the test needs at least {FEWEST_PROBES}")


def draws_of(probe: Probe, test: str) -> np.random.RandomState:
    """Return the stream of a probe in a test; frozen across numpy versions."""
    return np.random.RandomState(derived_seed(0, f"{test}/{probe.id}"))


def log10_p(observed: float, null: Array) -> float:
    """Return log10 of (1 + #{null >= observed}) / (1 + B): never below `LOWEST`.

    Phipson & Smyth 2010. Values that are equal up to rounding count as equal.

    Args:
        observed: the statistic, larger where the two differ more.
        null: (B,) the statistic under each relabelling.
    """
    slack = 1e-9 * max(abs(observed), float(np.abs(null).max(initial=0.0)))
    extreme = int((null >= observed - slack).sum())
    return math.log10((1 + extreme) / (1 + len(null)))
