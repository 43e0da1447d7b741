"""Replies of a subject that lie on the disk, and are read where they are used."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np

from auditor.on_disk import OnDisk
from auditor.types import Array
from auditor.withheld import Withheld

Replies = Sequence[Sequence[str]]
"""(P)(N) replies: as stored, or held as tuples."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredTexts(Sequence[tuple[str, ...]]):
    """(P)(N) replies in an unnamed file of the temporary folder: 12 bytes of memory for each."""

    _said: Sequence[str]
    """All replies, one after another."""
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
        return self._said[row]

    def take(self, probes: Array) -> "StoredTexts":
        """Return the replies to a selection of probes."""
        return replace(self, _rows=self._rows[probes])

    def first(self, repeats: int) -> "StoredTexts":
        """Return the first so many replies to each probe."""
        return replace(self, _rows=self._rows[:, :repeats])


def stored_texts(replies: Iterable[str], repeats: int) -> StoredTexts:
    """Return the replies, given probe by probe, `repeats` to each, as they lie in a file.

    Raises:
        StorageError: the disk of the temporary folder is full.
    """
    withheld = set()

    def shown() -> Iterator[str]:
        for row, text in enumerate(replies):
            if isinstance(text, Withheld):
                withheld.add(row)
            yield text

    said = OnDisk(Path(tempfile.gettempdir()), shown(), _packed, _unpacked)
    rows = np.arange(len(said), dtype=np.int32).reshape(-1, repeats)
    return StoredTexts(_said=said, _withheld=frozenset(withheld), _rows=rows)


def _packed(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _unpacked(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def taken_texts(texts: Replies | None, probes: Array) -> Replies | None:
    """Return the replies to a selection of probes; None stays None."""
    if isinstance(texts, StoredTexts):
        return texts.take(probes)
    return None if texts is None else tuple(texts[i] for i in probes)
