"""Vectors of probes that are read, and widened to float64, a block at a time.

They lie in mapped files as float32; a whole copy in float64 would make memory follow the probes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from auditor.types import Array

_NUMBERS = 1 << 20
"""Numbers of a block: 8 MiB in float64."""


class Rows(Protocol):
    """(P, ...) float64 vectors: an array, or one that is computed where it is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """P first."""
        ...

    def __len__(self) -> int:
        """Return P."""
        ...

    def __getitem__(self, rows: slice, /) -> Array:
        """Return neighbouring rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """Rows computed from those of `source`, a block of probes from the same block."""

    source: Rows
    compute: Callable[[Array], Array]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        """Return P."""
        return self.shape[0]

    def __getitem__(self, rows: slice, /) -> Array:
        """Return neighbouring rows, computed anew."""
        return self.compute(self.source[rows])


def widened(stored: Array) -> Computed:
    """Return the rows in float64, as copies: torch warns of read-only arrays."""
    return Computed(stored, lambda block: block.astype(np.float64), stored.shape)


def blocks(rows: Rows) -> Iterator[slice]:
    """Yield neighbouring probes, as many at once as bound the memory; none for no probe."""
    step = max(1, _NUMBERS // max(1, _width(rows)))
    for start in range(0, len(rows), step):
        yield slice(start, min(start + step, len(rows)))


def _width(rows: Rows) -> int:
    """Return the most numbers that a probe has while its row is computed."""
    own = int(np.prod(rows.shape[1:]))
    return max(own, _width(rows.source)) if isinstance(rows, Computed) else own


def held(rows: Rows) -> Rows:
    """Return the rows as an array where they are no more than a block, else as they are.

    For what reads them many times: computing them takes as long as their products with few others.
    """
    if not len(rows) or np.prod(rows.shape) > _NUMBERS:
        return rows
    return np.concatenate([rows[block] for block in blocks(rows)])


def centred(rows: Rows) -> Computed:
    """Return (P, D) rows less their mean over the probes, P > 0."""
    total = np.zeros(rows.shape[1])
    for block in blocks(rows):
        total += rows[block].sum(axis=0)
    mean = total / len(rows)
    return Computed(rows, lambda block: block - mean, rows.shape)


def present(rows: Rows) -> Array:
    """Return (P,) bool: all vectors of a probe are there, that is finite and not all zeros."""
    found = np.ones(len(rows), dtype=bool)
    for block in blocks(rows):
        values = rows[block]
        there = np.isfinite(values).all(axis=-1) & values.any(axis=-1)
        found[block] = there.reshape(len(values), -1).all(axis=1)
    return found
