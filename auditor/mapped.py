"""Arrays that lie in a file without a name, so that memory does not follow the number of probes."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor.case import storage_errors
from auditor.types import Array

_IN_MEMORY = 1 << 16
"""Bytes of an array up to which it is held in memory."""


def mapped(shape: tuple[int, ...], dtype: npt.DTypeLike, fill: Callable[[Array], None]) -> Array:
    """Return a read-only array of zeros that `fill` has written to.

    A large one lies in the temporary folder: its pages can be taken back where memory is short.

    Raises:
        StorageError: the disk of the temporary folder is full.
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    if size <= _IN_MEMORY:
        values: Array = np.zeros(shape, dtype=kind)
    else:
        with storage_errors(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as stream:
            if sys.platform == "linux":
                # Taken now: where the disk is full, writing to a map would kill the process.
                os.posix_fallocate(stream.fileno(), 0, size)
            values = np.memmap(stream, dtype=kind, mode="w+", shape=shape)
    fill(values)
    values.setflags(write=False)
    return values
