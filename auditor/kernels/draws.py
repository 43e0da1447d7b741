"""Random relabellings for permutation tests, in blocks of columns, from one stream of numbers.

A random subset of a given size in two steps. Every place is marked by one random byte, with a
probability near the share wanted; then random places are tried, and those whose mark is in excess
are changed, until the size is right. No step prefers a place to another, so that each subset of
that size is exactly as likely as any other, whatever the probability of the first step.

Relabellings are drawn `_DRAWN_AT_ONCE` at a time, the last lot too: how many are asked for does not
change the first ones.
"""

from collections.abc import Iterator
from math import ceil, floor, isqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from auditor.errors import InputError
from auditor.types import Array

Points = Array | Tensor
_HELD_AT_ONCE = 1 << 22
"""Labels."""
_DRAWN_AT_ONCE = 128
"""Relabellings, so that their marks stay in cache. Another number is another stream of draws."""


class Draws:
    """Random relabellings, in blocks of columns (N, b)."""

    def __init__(self, seed: int, permutations: int, blocks: Points | None) -> None:
        if permutations < 1:
            raise InputError(f"permutations must be at least 1, found {permutations}")
        self.stream = np.random.RandomState(seed)
        self.permutations = permutations
        self.blocks = None if blocks is None else np.asarray(blocks)

    def signs(self, pairs: int) -> Iterator[Tensor]:
        """Yield float32 columns of independent -1 and 1."""
        for table in self._tables(pairs):
            for rows in _lots(table):
                packed = _random_bytes(self.stream, (_DRAWN_AT_ONCE, -(-pairs // 8)))
                bits = np.unpackbits(packed, axis=1, count=pairs)
                rows[:] = bits[: len(rows)]
            table *= -2.0
            table += 1.0
            yield torch.from_numpy(table).T

    def labels(self, observed: Tensor) -> Iterator[Tensor]:
        """Yield float32 columns of 0 and 1 with as many ones in each block as `observed` has."""
        ones = observed.numpy() > 0
        kinds = self._kinds(ones)
        for table in self._tables(len(ones)):
            for rows in _lots(table):
                for kind in kinds:
                    marked = random_subsets(self.stream, _DRAWN_AT_ONCE * kind.blocks, *kind.subset)
                    rows[:, kind.places] = marked.reshape(_DRAWN_AT_ONCE, -1)[: len(rows)]
            yield torch.from_numpy(table).T

    def _tables(self, width: int) -> Iterator[Array]:
        """Yield empty (b, width) tables, as many rows in all as there are permutations."""
        step = _DRAWN_AT_ONCE * max(1, _HELD_AT_ONCE // (width * _DRAWN_AT_ONCE))
        for start in range(0, self.permutations, step):
            yield np.empty((min(step, self.permutations - start), width), dtype=np.float32)

    def _kinds(self, ones: Array) -> list["_Kind"]:
        """Return the blocks, those of one size and as many ones together."""
        if self.blocks is None:
            return [_Kind(slice(None), 1, (len(ones), int(ones.sum())))]
        if self.blocks.shape != ones.shape:
            raise InputError(f"blocks must be ({len(ones)},), found {self.blocks.shape}")
        alike: dict[tuple[int, int], list[Array]] = {}
        for label in np.unique(self.blocks):
            places = np.flatnonzero(self.blocks == label)
            alike.setdefault((len(places), int(ones[places].sum())), []).append(places)
        return [_Kind(np.concatenate(found), len(found), size) for size, found in alike.items()]


class _Kind(NamedTuple):
    places: Array | slice
    """Of all its blocks, one block after another."""
    blocks: int
    subset: tuple[int, int]
    """Places in a block, and ones among them."""


def random_subsets(stream: np.random.RandomState, rows: int, width: int, count: int) -> Array:
    """Return (rows, width) bool with `count` True in each row, every such row equally likely."""
    share = 256 * count / width
    # Rounded away from one half: the rarer mark is then seldom the one to be looked for.
    below = floor(share) if share <= 128 else ceil(share)
    marked = _random_bytes(stream, (rows, width)) < below
    excess = np.count_nonzero(marked, axis=1) - count
    while excess.any():
        excess -= _fewer(stream, marked, excess)
    return marked


def _fewer(stream: np.random.RandomState, marked: Array, excess: Array) -> Array:
    """Unmark up to `excess` random places of each row (mark, where negative); return how many."""
    rows, width = marked.shape
    wrong = np.flatnonzero(excess)
    shape = (len(wrong), 2 * isqrt(width))  # enough for two standard deviations, at a share of half
    places = stream.randint(0, width, shape, dtype=np.uint32) + (wrong * width)[:, None]
    flat = marked.reshape(-1)
    useful = flat[places] == (excess[wrong] > 0)[:, None]
    useful &= _last_of_equals(places, rows * width)
    useful &= np.cumsum(useful, axis=1) <= np.abs(excess[wrong])[:, None]
    flat[places[useful]] ^= True
    changed = np.zeros_like(excess)
    changed[wrong] = np.sign(excess[wrong]) * np.count_nonzero(useful, axis=1)
    return changed


def _last_of_equals(places: Array, total: int) -> Array:
    """Return True where a number below `total` does not come again later."""
    order = np.arange(places.size, dtype=np.int32).reshape(places.shape)
    last = np.empty(total, dtype=np.int32)
    last[places] = order
    return last[places] == order


def _lots(table: Array) -> list[Array]:
    return np.split(table, range(_DRAWN_AT_ONCE, len(table), _DRAWN_AT_ONCE))


def _random_bytes(stream: np.random.RandomState, shape: tuple[int, int]) -> Array:
    return np.frombuffer(stream.bytes(shape[0] * shape[1]), dtype=np.uint8).reshape(shape)
