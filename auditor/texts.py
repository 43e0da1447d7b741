"""Replies of a subject that lie on the disk, and are read where they are used."""

import mmap
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from auditor.types import Array
from auditor.withheld import Withheld

Replies = Sequence[Sequence[str]]
"""(P)(N) replies: as stored, or held as tuples."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredTexts(Sequence[tuple[str, ...]]):
    """(P)(N) replies in an unnamed file of the temporary folder: 12 bytes of memory for each."""

    _bytes: Array
    """uint8, mapped: all replies, one after another."""
    _ends: Array
    """int64: where each one ends; 0 first."""
    _withheld: frozenset[int]
    """Which of them are not shown."""
    _rows: Array
    """(P, N) int32: which of them answers a probe."""

    def __len__(self) -> int:
        """Return P."""
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> tuple[str, ...]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, ...]]: ...

    def __getitem__(self, index: int | slice) -> tuple[str, ...] | Sequence[tuple[str, ...]]:
        if isinstance(index, slice):
            return replace(self, _rows=self._rows[index])
        return tuple(map(self._text, self._rows[index].tolist()))

    def _text(self, row: int) -> str:
        if row in self._withheld:
            return Withheld()
        start, end = self._ends[row : row + 2].tolist()
        return self._bytes[start:end].tobytes().decode("utf-8", "surrogatepass")

    def take(self, probes: Array) -> "StoredTexts":
        """Return the replies to a selection of probes."""
        return replace(self, _rows=self._rows[probes])

    def first(self, repeats: int) -> "StoredTexts":
        """Return the first so many replies to each probe."""
        return replace(self, _rows=self._rows[:, :repeats])


def stored_texts(replies: Iterable[str], repeats: int) -> StoredTexts:
    """Return the replies, given probe by probe, `repeats` to each, as they lie in a file."""
    ends, withheld = array("q", [0]), set()
    with tempfile.TemporaryFile() as stream:
        for row, text in enumerate(replies):
            if isinstance(text, Withheld):
                withheld.add(row)
            ends.append(ends[-1] + stream.write(text.encode("utf-8", "surrogatepass")))
        stream.flush()
        return StoredTexts(
            _bytes=_mapped_bytes(stream.fileno(), ends[-1]),
            _ends=np.array(ends, dtype=np.int64),
            _withheld=frozenset(withheld),
            _rows=np.arange(len(ends) - 1, dtype=np.int32).reshape(-1, repeats),
        )


def _mapped_bytes(descriptor: int, size: int) -> Array:
    if not size:  # a file without a byte cannot be mapped
        return np.zeros(0, dtype=np.uint8)
    return np.frombuffer(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ), dtype=np.uint8)


def taken_texts(texts: Replies | None, probes: Array) -> Replies | None:
    """Return the replies to a selection of probes; None stays None."""
    if isinstance(texts, StoredTexts):
        return texts.take(probes)
    return None if texts is None else tuple(texts[i] for i in probes)
