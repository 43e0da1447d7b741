"""The temperature that a suspect samples at, relative to the controls.

Nobody tells us the suspect's temperature, and scoring text at another one than it was sampled at
distorts every likelihood: at 0.4 even independent suspects drift far from the controls.

The temperature under which the controls find a text likeliest is no estimate of it: models that
disagree all find each other's text too surprising, which a higher temperature mends, so it comes
out far too high for everybody. But that holds for the controls' own replies as well, whose
temperature is the plan's. How steep the likelihood of a text is in 1 / temperature is compared
instead. A suspect whose replies are as steep at temperature 1 as those of some controls is scored
at 1, the temperature of the plan: an estimate within the spread of the controls would add noise
and nothing else. Otherwise it is scored at the temperature nearest to 1 at which they are.
Measured on natural text where there is any, since models disagree most about noise.

Likelihoods between the collected temperatures are interpolated by a parabola in 1 / temperature,
in which they are smooth and concave.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from auditor.measures._crossing import STRATA, Residuals
from auditor.panel import TEMPERATURES
from auditor.types import Array

STEPS = 8
"""Candidates between two temperatures that were collected."""
_NODES = 1.0 / np.array(TEMPERATURES)


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Candidates c and what gives a value and its slope there from the G collected ones."""

    inverse: Array
    """(C,) 1 / temperature."""
    value: Array
    """(C, G)."""
    slope: Array
    """(C, G)."""


def _grid() -> _Grid:
    inner = [np.linspace(a, b, STEPS, endpoint=False) for a, b in itertools.pairwise(_NODES)]
    inverse = np.concatenate([*inner, _NODES[-1:]])
    value, slope = (np.zeros((len(inverse), len(_NODES))) for _ in range(2))
    for row, x in enumerate(inverse):
        near = np.argsort(np.abs(_NODES - x), kind="stable")[:3]
        for i in near:
            a, b = _NODES[near[near != i]]
            below = (_NODES[i] - a) * (_NODES[i] - b)
            # Lagrange's polynomial of node i and its derivative
            value[row, i] = (x - a) * (x - b) / below
            slope[row, i] = (2 * x - a - b) / below
    return _Grid(inverse, value, slope)


_GRID = _grid()
TEMPERATURE_CANDIDATES = 1.0 / _GRID.inverse
"""(C,) temperatures, lowest first."""
_UNIT = int(np.argmin(np.abs(_GRID.inverse - 1.0)))


def relative_temperatures(found: Residuals, chosen: Array) -> Array:
    """Return (B,): index into `TEMPERATURE_CANDIDATES` of the suspect, on subsets (B, P) bool.

    The end of the grid where the estimate lies beyond it; 1 where nothing can be compared.
    """
    natural = chosen & (found.stratum == STRATA.index("natural"))
    length = found.bytes.sum(axis=2)  # (1 + A, P)
    enough = (natural @ length[0] > 0) & (natural @ length[1:].sum(axis=0) > 0)
    taken = np.where(enough[:, None], natural, chosen).astype(np.float64)
    slope = _per_byte(taken @ (found.level @ _GRID.slope.T), (taken @ length[0])[:, None])  # (B, C)
    pool = found.pool_level @ _GRID.slope[_UNIT]  # (A, P)
    theirs = _per_byte(taken @ pool.T, taken @ length[1:].T)  # (B, A)
    known = np.isfinite(slope[:, _UNIT]) & np.isfinite(theirs).any(axis=1)
    lowest = np.where(np.isfinite(theirs), theirs, np.inf).min(axis=1)
    highest = np.where(np.isfinite(theirs), theirs, -np.inf).max(axis=1)
    own = slope[:, _UNIT]
    ordinary = np.clip(own, lowest, highest)
    unusual = known & (own != ordinary)
    distance = np.where(unusual[:, None], np.abs(slope - ordinary[:, None]), 0.0)
    return np.where(unusual, np.argmin(distance, axis=1), _UNIT)


def sharpened(candidates: Array) -> Array:
    """Return whether each candidate is a lower temperature than the plan's."""
    return candidates < _UNIT


def tempered(found: Residuals, candidate: int) -> Array:
    """Return (P, N, F): the suspect's residuals at a candidate."""
    return np.einsum("g,pngf->pnf", _GRID.value[candidate], found.suspect)


def _per_byte(nats: Array, length: Array) -> Array:
    """Return nats a byte, NaN where there are no bytes."""
    length = np.broadcast_to(length, nats.shape)
    return np.divide(nats, length, out=np.full(nats.shape, np.nan), where=length > 0)
