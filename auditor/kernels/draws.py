"""Random relabellings for permutation tests, in blocks of columns, from one stream of numbers."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from auditor.errors import InputError
from auditor.types import Array

Points = Array | Tensor
_DRAWS_AT_ONCE = 1 << 22
"""Random numbers held at once."""
_MARKED_AT_ONCE = 128
"""Relabellings, so that their numbers stay in cache."""


class Draws:
    """Random relabellings, in blocks of columns (N, b)."""

    def __init__(self, seed: int, permutations: int, blocks: Points | None) -> None:
        if permutations < 1:
            raise InputError(f"permutations must be at least 1, found {permutations}")
        self.stream = np.random.RandomState(seed)
        self.permutations = permutations
        self.blocks = None if blocks is None else np.asarray(blocks)

    def _uniform(self, width: int) -> Iterator[Array]:
        """Yield (b, width) uniform numbers until there are as many rows as permutations."""
        step = max(1, _DRAWS_AT_ONCE // width)
        for start in range(0, self.permutations, step):
            yield self.stream.random_sample((min(step, self.permutations - start), width))

    def signs(self, pairs: int) -> Iterator[Tensor]:
        """Yield float32 columns of independent -1 and 1."""
        for uniform in self._uniform(pairs):
            yield torch.from_numpy(np.where(uniform.T < 0.5, np.float32(-1), np.float32(1)))

    def labels(self, observed: Tensor) -> Iterator[Tensor]:
        """Yield float32 columns of 0 and 1 with as many ones in each block as `observed` has."""
        ones = observed.numpy() > 0
        groups = [(group, int(ones[group].sum())) for group in self._groups(len(ones))]
        step = max(1, _DRAWS_AT_ONCE // len(ones))
        for start in range(0, self.permutations, step):
            marked = np.empty((min(step, self.permutations - start), len(ones)), dtype=np.float32)
            for part in np.split(marked, range(_MARKED_AT_ONCE, len(marked), _MARKED_AT_ONCE)):
                uniform = self.stream.random_sample(part.shape)
                for group, count in groups:
                    part[:, group] = _smallest(uniform[:, group], count)
            yield torch.from_numpy(marked).T

    def _groups(self, total: int) -> list[Array | slice]:
        if self.blocks is None:
            return [slice(None)]
        if self.blocks.shape != (total,):
            raise InputError(f"blocks must be ({total},), found {self.blocks.shape}")
        return [np.flatnonzero(self.blocks == label) for label in np.unique(self.blocks)]


def _smallest(uniform: Array, count: int) -> Array:
    """Return True at the `count` smallest numbers of each row: a random subset of that size."""
    if count == 0:
        return np.zeros(uniform.shape, dtype=bool)
    # Half the width, half the time; a row in which that makes draws equal is looked at again.
    narrow = uniform.astype(np.float32)
    chosen = narrow <= _limits(narrow, count)
    for row in np.flatnonzero(np.count_nonzero(chosen, axis=1) != count):
        chosen[row] = False
        chosen[row, np.argsort(uniform[row], kind="stable")[:count]] = True
    return chosen


def _limits(uniform: Array, count: int) -> Array:
    """Return (b, 1): the `count`-th smallest number of each row; in few rows, another number.

    It lies near count / width, within four standard deviations in all but 1 row of 10,000. So only
    the numbers there are sorted.
    """
    rows, width = uniform.shape
    share = count / width
    margin = 4.0 * (share * (1.0 - share) / width) ** 0.5
    below = uniform <= np.float32(share - margin)
    near = (uniform <= np.float32(share + margin)) ^ below
    held = np.count_nonzero(near, axis=1)
    ordered = np.full((rows, held.max() + 1), np.inf, dtype=np.float32)
    ordered[np.arange(ordered.shape[1]) < held[:, None]] = uniform[near]
    ordered.sort(axis=1)
    place = np.clip(count - 1 - np.count_nonzero(below, axis=1), 0, held.max())
    return ordered[np.arange(rows), place, None]
