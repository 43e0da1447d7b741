"""Arrays that lie in a file without a name, so that memory does not follow the number of probes."""

import tempfile
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from auditor.types import Array

_IN_MEMORY = 1 << 16
"""Bytes of an array up to which it is held in memory."""


def mapped(shape: tuple[int, ...], dtype: npt.DTypeLike, fill: Callable[[Array], None]) -> Array:
    """Return a read-only array of zeros that `fill` has written to.

    A large one lies in the temporary folder: its pages can be taken back where memory is short.
    """
    kind = np.dtype(dtype)
    if int(np.prod(shape)) * kind.itemsize <= _IN_MEMORY:
        values: Array = np.zeros(shape, dtype=kind)
    else:
        with tempfile.TemporaryFile() as stream:
            values = np.memmap(stream, dtype=kind, mode="w+", shape=shape)
    fill(values)
    values.setflags(write=False)
    return values
