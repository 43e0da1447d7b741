"""Many SHA-256 digests in 32 bytes each, and what is asked of all of them together."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from auditor.types import Array

_BYTES = 32
_PREFIX = "sha256:"
_CHUNK = 4096


class Digests(Sequence[str]):
    """A list of digests written ``sha256:<hex>``, as short in memory as it can be."""

    def __init__(self, raw: Array) -> None:
        """Take the bytes of n digests, (n, 32) uint8."""
        self.raw = raw

    def __len__(self) -> int:
        return len(self.raw)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Digests": ...
    def __getitem__(self, index: int | slice) -> "str | Digests":
        """Return one digest, or those of a slice."""
        if isinstance(index, slice):
            return Digests(self.raw[index])
        return _PREFIX + self.raw[index].tobytes().hex()

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    @property
    def fractions(self) -> Array:
        """(n,) float64: the first 64 bits as a fraction of one."""
        first: Array = np.ascontiguousarray(self.raw[:, :8]).view(">u8")[:, 0]
        return first.astype(np.float64) / 2.0**64

    def pick(self, positions: Array) -> "Digests":
        """Return those at `positions`, in that order."""
        return Digests(self.raw[positions])

    def equals(self, index: int) -> Array:
        """Return (n,) bool: which are equal to the one at `index`."""
        return np.asarray((self.raw == self.raw[index]).all(axis=1))

    def in_order(self) -> "Digests":
        """Return them sorted, as their text sorts."""
        return self.pick(self._order())

    def smallest(self) -> int:
        """Return the position of the first in sorted order; there must be one."""
        return int(self._order()[0])

    def first_and_last(self) -> tuple[Array, Array]:
        """Return where each different digest stands first and last, in sorted order, (d,) each."""
        order = self._order()
        ordered = _words(self.raw)[order]  # (n, 4)
        starts = np.ones(len(order), dtype=bool)
        starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        # The order is stable: within equal digests positions ascend.
        return order[starts], order[np.append(starts[1:], True)[: len(order)]]

    def unique(self) -> "Digests":
        """Return each different digest once, sorted."""
        return self.pick(self.first_and_last()[0])

    def json_digest(self) -> str:
        """Return `auditor.canon.json_digest` of the list of texts, without building it."""
        hasher = hashlib.sha256(b"[")
        for start in range(0, len(self), _CHUNK):
            texts = ",".join(f'"{text}"' for text in self[start : start + _CHUNK])
            hasher.update(("," if start else "").encode() + texts.encode())
        hasher.update(b"]")
        return _PREFIX + hasher.hexdigest()

    def _order(self) -> Array:
        """Return (n,) int64 positions in sorted order, equal ones as they stand."""
        return np.lexsort(_words(self.raw).T[::-1]).astype(np.int64, copy=False)


def _words(raw: Array) -> Array:
    """Return (n, 4) big-endian words of (n, 32) bytes: they sort as the bytes do."""
    return np.ascontiguousarray(raw).view(">u8")


def digests_of(texts: Iterable[str]) -> Digests:
    """Return the digests that are written in `texts`.

    Raises:
        ValueError: one is no SHA-256 digest.
    """
    raw = bytearray()
    for text in texts:
        value = bytes.fromhex(text.removeprefix(_PREFIX))
        if len(value) != _BYTES:
            raise ValueError(f"{text!r} is not a SHA-256 digest")
        raw += value
    return Digests(np.frombuffer(bytes(raw), dtype=np.uint8).reshape(-1, _BYTES))
