"""Controls of the pool that were run on the same positions as the pair."""

from collections.abc import Callable

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._positions import column
from auditor.outputs import Pair
from auditor.panel import Control
from auditor.types import Array

_NUMBERS = 1 << 20
"""Numbers that are held at once while positions are summed: 8 MiB in float64."""


def positioned_controls(pair: Pair, fewest: int) -> tuple[Control, ...]:
    """Return the controls whose positions are those of the pair, row by row.

    A control of another vocabulary has none and is left out.

    Raises:
        UndefinedError: fewer than `fewest` are left, or the positions are missing.
    """
    pair.require("pool")
    probe, token = column(pair, "probe"), column(pair, "token")
    controls = tuple(
        control
        for control in pair.pool
        if control.positions is not None
        and np.array_equal(control.positions["probe"], probe)
        and np.array_equal(control.positions["token"], token)
    )
    if len(controls) < fewest:
        raise UndefinedError(
            f"{len(controls)} controls of the pool were run on the positions of the pair; "
            f"{fewest} are needed"
        )
    return controls


def control_columns(controls: tuple[Control, ...], name: str) -> tuple[Array, ...]:
    """Return (T,) of each control: a column of its positions, as `positioned_controls` gives."""
    return tuple(control.positions[name] for control in controls if control.positions is not None)


def summed_blocks(probe: Array, count: int, values: Callable[[slice], Array], probes: int) -> Array:
    """Return `probe_sums` of (T, ...) values that are computed a block of positions at a time.

    A probe whose positions lie together is in one block, so the sums are those of all at once.

    Args:
        probe: (T,) of each position.
        count: numbers that a position needs while it is summed.
        values: (t, ...) of t neighbouring positions.
        probes: how many there are.
    """
    total, start = None, 0
    while total is None or start < len(probe):
        stop = _block_end(probe, start, max(1, _NUMBERS // count))
        part, own = values(slice(start, stop)), probe[start:stop]
        low, high = (int(own.min()), int(own.max()) + 1) if stop > start else (0, 0)
        if total is None:
            total = np.zeros((probes, *part.shape[1:]))
        total[low:high] += probe_sums(own - low, part, high - low)
        start = stop
    return total


def _block_end(probe: Array, start: int, step: int) -> int:
    """Return where a block of about `step` positions from `start` may end: between two probes."""
    stop = min(start + step, len(probe))
    while 0 < stop < len(probe) and probe[stop] == probe[stop - 1]:
        stop += 1
    return stop


def probe_sums(probe: Array, values: Array, probes: int) -> Array:
    """Return (P, ...): the sums of (T, ...) values over each probe's positions."""
    columns = values.reshape(len(values), -1).T
    sums = [np.bincount(probe, weights=column, minlength=probes) for column in columns]
    return np.stack(sums, axis=1).reshape(probes, *values.shape[1:])
