"""Controls of the pool that were run on the same positions as the pair."""

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._positions import column
from auditor.outputs import Pair
from auditor.panel import Control
from auditor.types import Array


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


def control_columns(controls: tuple[Control, ...], name: str) -> Array:
    """Return (K, T): a column of the positions of each control, as `positioned_controls` gives."""
    rows = [control.positions[name] for control in controls if control.positions is not None]
    return np.stack(rows)


def probe_sums(probe: Array, values: Array, probes: int) -> Array:
    """Return (P, ...): the sums of (T, ...) values over each probe's positions."""
    columns = values.reshape(len(values), -1).T
    sums = [np.bincount(probe, weights=column, minlength=probes) for column in columns]
    return np.stack(sums, axis=1).reshape(probes, *values.shape[1:])
