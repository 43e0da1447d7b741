"""Positions of a pair: their columns, and the step from positions to probes."""

import numpy as np

from auditor.errors import UndefinedError
from auditor.outputs import Pair
from auditor.types import Array


def column(pair: Pair, name: str) -> Array:
    """Return one field of the positions, (T, ...).

    Raises:
        UndefinedError: the positions are missing, or lack this field: those of fingerprints hold
            what projections can estimate, and the reason of each other field.
    """
    pair.require("positions")
    rows = np.asarray(pair.positions)
    if name not in (rows.dtype.names or ()):
        raise UndefinedError((pair.why or {}).get(f"positions.{name}", f"no {name} was collected"))
    return rows[name]


def probe_means(pair: Pair, values: Array) -> Array:
    """Return (P,) float64: the mean over each probe's positions; NaN for a probe without any.

    Every probe weighs the same, however long its text is.

    Args:
        pair: with positions.
        values: (T,), one a position.
    """
    probe = column(pair, "probe")
    total = np.bincount(probe, weights=values, minlength=len(pair.probes))
    count = np.bincount(probe, minlength=len(pair.probes))
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def bounded(pair: Pair, name: str, largest: float) -> Array:
    """Return a column, (T,), cut to [0, largest]: float32 kernels may pass a limit by rounding."""
    return np.clip(column(pair, name), 0.0, largest)


def finite_divergence(pair: Pair, name: str, excluding: str, allowing: str) -> Array:
    """Return a divergence column, (T,), all of it finite.

    Raises:
        UndefinedError: at some positions `excluding` gives probability 0 to a token that `allowing`
            can emit, which makes the divergence infinite there (stored as NaN); the message
            counts them. Leaving those positions out would hide the largest differences.
    """
    values = column(pair, name)
    infinite = int(np.count_nonzero(~np.isfinite(values)))
    if infinite:
        raise UndefinedError(
            f"infinite: at {infinite} of {len(values)} positions the {excluding} excludes a token "
            f"that the {allowing} allows"
        )
    return values
