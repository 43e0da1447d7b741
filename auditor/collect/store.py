"""Append-only files that survive a crash, and the chained record lines written with them.

Files are written as ``<name>.part`` in whole batches, each flushed to the disk, and renamed when
complete. After a crash the torn end and the incomplete batch are cut; the batch is done again.
Plain writes, never a memory map: a full disk must raise an error, not kill the process.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from auditor.canon import canonical_json, leaf_hash
from auditor.case import storage_errors
from auditor.stored import chained_lines


def part_path(path: Path) -> Path:
    """Return where a file is written until it is complete."""
    return path.with_name(path.name + ".part")


class Appender:
    """An open file that only grows; a refused write raises StorageError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: after a refused write nothing may wait in a buffer for the next one.
            self._stream = path.open("r+b" if path.exists() else "x+b", buffering=0)
            self._stream.seek(0, os.SEEK_END)

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._stream.tell()

    def cut(self, size: int) -> None:
        """Drop what is beyond `size` bytes."""
        with storage_errors(self._path):
            self._stream.truncate(size)
            self._stream.seek(size)
            os.fsync(self._stream.fileno())

    def write(
        self, content: bytes | memoryview, at: int | None = None, *, flush: bool = True
    ) -> None:
        """Write all of `content`, at the end or over what is at `at`, and flush it to the disk.

        What is not flushed at once may be lost, until the next flush.
        """
        left = memoryview(content).cast("B") if len(content) else memoryview(b"")
        with storage_errors(self._path):
            if at is not None:
                self._stream.seek(at)
            while len(left):
                # A nearly full disk takes a part and refuses the rest.
                left = left[self._stream.write(left) :]
            if flush:
                os.fsync(self._stream.fileno())
            self._stream.seek(0, os.SEEK_END)

    def read(self, at: int, size: int) -> bytes:
        """Return up to `size` bytes from `at`."""
        return os.pread(self._stream.fileno(), size, at)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def complete(path: Path, *others: Path) -> None:
    """Give finished files of one folder their final names, for good."""
    with storage_errors(path):
        for final in (path, *others):
            part_path(final).replace(final)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Closing(ABC):
    """Closes itself at the end of a ``with`` block, complete or not."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class RecordWriter(Closing):
    """Record lines of one file, each chained to the one before it by ``seq`` and ``prev``."""

    def __init__(
        self,
        path: Path,
        ends: Sequence[int] | None = None,
        *,
        part: bool = True,
        salt: Callable[[int], str] | None = None,
    ) -> None:
        """Open `path` for appending after its longest run of whole batches.

        Args:
            path: final name.
            ends: number of lines after each batch; None where every line is a batch.
            part: write to ``<name>.part`` until `finish`; otherwise to `path` itself.
            salt: from the number of a line to its salt; None for lines without.

        Raises:
            CaseError: the chain is broken before the torn end.
        """
        self._final = path
        self._salt = salt
        self._path = part_path(path) if part else path
        size, self.lines, self.last = _whole_batches(self._path, ends)
        self._file = Appender(self._path)
        self.cut = self._file.size - size
        """Bytes of a torn line or an incomplete batch that were cut on opening."""
        if self.cut:
            self._file.cut(size)

    def append(self, batch: Iterable[dict[str, Any]]) -> None:
        """Write a batch of lines and flush it to the disk.

        Raises:
            StorageError: the disk refused it; the next writer cuts what got through.
        """
        number, previous, lines = self.lines, self.last, []
        for row in batch:
            salted = {} if self._salt is None else {"salt": self._salt(number)}
            line = canonical_json({**row, **salted, "seq": number, "prev": previous})
            lines.append(line + b"\n")
            number, previous = number + 1, leaf_hash(line)
        self._file.write(b"".join(lines))
        self.lines, self.last = number, previous

    def finish(self, *others: "RecordWriter") -> None:
        """Give the file, and others of its folder that are complete, their final names."""
        for writer in (self, *others):
            writer.close()
        complete(self._final, *(writer._final for writer in others))

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()


def _whole_batches(path: Path, ends: Sequence[int] | None) -> tuple[int, int, str]:
    """Return bytes, lines and last leaf hash of what a crash left complete."""
    allowed = None if ends is None else set(ends)
    size, lines, kept = 0, 0, (0, 0, "")
    if path.exists():
        for line, _ in chained_lines(path):
            size, lines = size + len(line) + 1, lines + 1
            if allowed is None or lines in allowed:
                kept = (size, lines, leaf_hash(line))
    return kept
