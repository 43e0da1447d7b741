"""Arrays that grow on disk by whole batches, and are read by blocks: memory holds one batch."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.collect.store import Appender, Closing, complete, part_path
from auditor.errors import CaseError
from auditor.types import Array

_BLOCK = 1 << 16
"""Rows read or copied at a time."""


class ArrayWriter(Closing):
    """A ``.npy`` file (format 1.0) that grows by whole batches of rows.

    Plain writes, never a memory map: on a full disk a map kills the process, a write raises.
    """

    def __init__(
        self, path: Path, dtype: npt.DTypeLike, rows: int | None, width: tuple[int, ...] = ()
    ) -> None:
        """Open the array for appending at its end.

        Args:
            path: final name.
            dtype: of the elements.
            rows: final number of rows; None where only the last batch tells.
            width: shape of a row.

        Raises:
            CaseError: an unfinished file of another shape or type is there.
        """
        self.path, self.dtype, self.width = path, np.dtype(dtype), width
        self._rows = rows
        self._row_bytes = self.dtype.itemsize * int(np.prod(width, dtype=np.int64))
        self._header = _npy_header(self.dtype, (rows or 0, *width))
        self._part = part_path(path)
        self.cut = 0
        """Bytes that `resume` cut."""
        self._file = Appender(self._part)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        expected = len(self._header)
        found = self._file.read(0, expected)
        if len(found) < expected:
            self._file.cut(0)
            self._file.write(self._header, flush=False)  # the first rows flush it
        elif self._rows is None:
            # A crash inside `finish` may have left the final count here.
            self._file.write(self._header, at=0, flush=False)
        elif found != self._header:
            raise CaseError(
                f"{self._part} holds another array than the plan asks for",
                hint="remove this file and repeat the command",
            )

    @property
    def rows(self) -> int:
        """Number of whole rows in the file."""
        return (self._file.size - len(self._header)) // self._row_bytes

    def resume(self, ends: Sequence[int]) -> int:
        """Keep the longest run of whole batches; return the number of its rows.

        Args:
            ends: number of rows after each batch.
        """
        kept = max((end for end in ends if end <= self.rows), default=0)
        size = len(self._header) + kept * self._row_bytes
        self.cut = self._file.size - size
        if self.cut:
            self._file.cut(size)
        return kept

    def column(self, name: str) -> Array:
        """Return one column of the rows written so far."""
        values = np.empty(self.rows, dtype=self.dtype[name])
        with self._part.open("rb") as stream:
            stream.seek(len(self._header))
            for start in range(0, len(values), _BLOCK):
                part = values[start : start + _BLOCK]
                part[:] = np.fromfile(stream, dtype=self.dtype, count=len(part))[name]
        return values

    def append(self, rows: npt.ArrayLike) -> None:
        """Write a batch of rows and flush it to the disk.

        Raises:
            StorageError: the disk refused it; `resume` of a new writer cuts what got through.
            ValueError: the rows do not fit the array.
        """
        block = np.ascontiguousarray(rows, dtype=self.dtype)
        if block.shape[1:] != self.width:
            raise ValueError(f"rows of shape {block.shape[1:]}, the array has {self.width}")
        if self._rows is not None and self.rows + len(block) > self._rows:
            raise ValueError(f"{self.rows + len(block)} rows, the array has {self._rows}")
        self._file.write(block.tobytes())

    def copy(self, source: "ArrayReader") -> None:
        """Write all rows of another array.

        Raises:
            StorageError, ValueError: as `append`.
        """
        for start in range(0, source.shape[0], _BLOCK):
            self.append(source.read(start, min(start + _BLOCK, source.shape[0])))

    def finish(self) -> None:
        """Give the array its final name.

        Raises:
            ValueError: rows are missing.
        """
        if self._rows is None:
            self._file.write(_npy_header(self.dtype, (self.rows, *self.width)), at=0)
        elif self.rows != self._rows:
            raise ValueError(f"{self.path}: {self.rows} of {self._rows} rows were written")
        self.close()
        complete(self.path)

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()


def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    # numpy pads the header for a growing first axis: its length does not depend on the count.
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer,
        {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": shape,
        },
    )
    return buffer.getvalue()


class ArrayReader:
    """Rows of a finished array by plain reads: memory holds what was asked for, and no more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as stream:
            np.lib.format.read_magic(stream)
            self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(stream)
            self._start = stream.tell()

    def distinct(self, name: str) -> Array:
        """Return the different values of a column, in order."""
        starts = range(0, self.shape[0], _BLOCK)
        parts = (self.read(at, min(at + _BLOCK, self.shape[0]))[name] for at in starts)
        return np.unique(np.concatenate([np.zeros(0, self.dtype[name]), *map(np.unique, parts)]))

    def read(self, start: int, stop: int) -> Array:
        """Return rows start to stop."""
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        with self._path.open("rb") as stream:
            stream.seek(self._start + start * width * self.dtype.itemsize)
            values = np.fromfile(stream, dtype=self.dtype, count=(stop - start) * width)
        return values.reshape(stop - start, *self.shape[1:])
