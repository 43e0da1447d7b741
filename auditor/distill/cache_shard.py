"""A shard of the logit cache: a safetensors file that is written once and memory-mapped."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from auditor.case import atomic_write
from auditor.distill.cache_rows import Arrays
from auditor.types import Array

RAGGED = "head"
"""The array with as many rows as `certain` counts; every other one has a row a position."""


def sequence_key(tokens: Array, first: int) -> bytes:
    """Return 32 bytes that name a sequence: SHA-256 of its ids (int32, little-endian) and `first`.

    `first` is the index of the first token that is a target.
    """
    content = np.asarray(tokens, dtype="<i4").tobytes()
    return hashlib.sha256(int(first).to_bytes(4, "little") + content).digest()


def write_shard(path: Path, keys: list[bytes], counts: list[int], arrays: Arrays) -> None:
    """Write the positions of some sequences in one move.

    Args:
        path: of the new file.
        keys: `sequence_key` of each sequence.
        counts: positions of each sequence; their sum is the number of rows.
        arrays: what `cache_rows` made of all positions, one sequence after another.

    Raises:
        StorageError: the disk refused it.
    """
    from safetensors.numpy import save

    index: Arrays = {
        "keys": np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), 32),
        "rows": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, save({**index, **arrays}))


class Shard:
    """Reads a shard; only the rows that are asked for come from the disk."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        opened: Any = safe_open  # its stubs are untyped
        self._file = opened(str(path), framework="np")
        self._names = sorted({*self._file.keys()} - {"keys", "rows"})
        self._rows = self._file.get_tensor("rows")
        self._starts = self._ragged_starts()
        self.keys = [bytes(key) for key in self._file.get_tensor("keys")]

    def _ragged_starts(self) -> Array | None:
        if RAGGED not in self._names:
            return None
        return np.concatenate([[0], np.cumsum(self._file.get_tensor("certain"), dtype=np.int64)])

    @property
    def positions(self) -> int:
        """Rows of the shard."""
        return int(self._rows[-1])

    def read(self, number: int) -> Arrays:
        """Return the arrays of the sequence with that number in the shard."""
        start, stop = (int(row) for row in self._rows[number : number + 2])
        found: Arrays = {}
        for name in self._names:
            a, b = start, stop
            if name == RAGGED and self._starts is not None:
                a, b = int(self._starts[start]), int(self._starts[stop])
            # safetensors refuses to cut nothing out of nothing.
            found[name] = (
                self._file.get_slice(name)[a:b] if a < b else np.empty(0, dtype=np.float16)
            )
        return found
