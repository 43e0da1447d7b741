"""Sequences whose items lie in a file without a name: memory holds eight bytes an item."""

import os
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, overload

from auditor.case import storage_errors

T = TypeVar("T")


class Unnamed:
    """A file without a name, which is gone with the last who can read it."""

    def __init__(self, folder: Path) -> None:
        """Make it in `folder`, which is made where it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        self.descriptor, name = tempfile.mkstemp(dir=folder)
        Path(name).unlink()
        weakref.finalize(self, os.close, self.descriptor)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`."""
        return os.pread(self.descriptor, end - start, start)


class OnDisk(Sequence[T], Generic[T]):
    """Items that are written once, in order, and made anew at each access."""

    def __init__(
        self,
        folder: Path,
        items: Iterable[T],
        pack: Callable[[T], bytes],
        unpack: Callable[[bytes], T],
    ) -> None:
        """Write all items.

        Args:
            folder: of the file.
            items: taken one by one.
            pack: from an item to its bytes.
            unpack: back.

        Raises:
            StorageError: the disk is full.
        """
        self._unpack = unpack
        self._ends = array("q", [0])
        with storage_errors(folder):
            self._file = Unnamed(folder)
            with os.fdopen(self._file.descriptor, "wb", closefd=False) as stream:
                for item in items:
                    self._ends.append(self._ends[-1] + stream.write(pack(item)))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._unpack(self._file.read(self._ends[place], self._ends[place + 1]))

    def __iter__(self) -> Iterator[T]:
        return (self[place] for place in range(len(self)))


@dataclass(frozen=True, slots=True)
class Batches(Generic[T]):
    """Items by batch, each read when it is its turn."""

    items: Sequence[T]
    plan: Sequence[Sequence[int]]
    """Places in `items`."""

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> list[T]:
        return [self.items[place] for place in self.plan[index]]

    def __iter__(self) -> Iterator[list[T]]:
        return (self[index] for index in range(len(self)))
