"""The temperature that a suspect samples at, relative to the controls.

Nobody tells us the suspect's temperature, and scoring text at another one than it was sampled at
distorts every likelihood: at 0.4 even independent suspects drift far from the controls.

The temperature under which the controls find a text likeliest is no estimate of it: models that
disagree all find each other's text too surprising, which a higher temperature mends, so it comes
out far too high for everybody. But that holds for the controls' own replies as well, whose
temperature is known to be the plan's. So the suspect's is the one at which its replies leave the
likelihood as steep, in 1 / temperature, as the controls' replies leave it at 1: the unit is the
temperature of the plan. Measured on natural text where there is any, since models disagree most
about noise.

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
    enough = (natural @ found.bytes[0] > 0) & (natural @ found.bytes[1:].sum(axis=0) > 0)
    taken = np.where(enough[:, None], natural, chosen).astype(np.float64)
    slope = _per_byte(taken @ (found.level @ _GRID.slope.T), taken @ found.bytes[0])  # (B, C)
    theirs = _per_byte(
        np.stack([taken @ (level @ _GRID.slope[_UNIT]) for level in found.pool_level], axis=1),
        np.stack([taken @ length for length in found.bytes[1:]], axis=1),
        each=True,
    )  # (B, A)
    distance = np.abs(slope - _known_mean(theirs)[:, None])
    known = np.isfinite(distance).all(axis=1)
    return np.where(known, np.argmin(np.where(known[:, None], distance, 0.0), axis=1), _UNIT)


def tempered(found: Residuals, candidate: int) -> Array:
    """Return (P, N, F): the suspect's residuals at a candidate."""
    return np.einsum("g,pngf->pnf", _GRID.value[candidate], found.suspect)


def _per_byte(nats: Array, length: Array, each: bool = False) -> Array:
    length = length if each else length[:, None]
    length = np.broadcast_to(length, nats.shape)
    return np.divide(nats, length, out=np.full(nats.shape, np.nan), where=length > 0)


def _known_mean(values: Array) -> Array:
    """Return the mean of each row's known values, NaN where there is none."""
    known = np.isfinite(values)
    number = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, number, out=np.full(len(values), np.nan), where=number > 0)
