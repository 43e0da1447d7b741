"""Byte ranges of a model's weight files: what is read of each tensor, never the whole file.

Digests are over stored bytes, sketches over the numbers that they stand for, so a copy in another
type has other digests and nearly the same sketch.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auditor.canon import canonical_json
from auditor.errors import SubjectError
from auditor.kernels.sketches import tensor_sketch
from auditor.models.checkpoint import StoredTensor
from auditor.models.weight_files import WeightFiles
from auditor.registry.positions import (
    Place,
    Window,
    label_of,
    place_of,
    share_of_a_tensor,
    windows,
)
from auditor.types import Array

if TYPE_CHECKING:
    from typing import BinaryIO

EDGE_BYTES = 4096
"""Of each end of a tensor: what tells a tensor that was copied to another place."""
SKETCH = 128
"""Numbers that a tensor's sample is reduced to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSample:
    """What is kept of one tensor."""

    name: str
    place: Place
    digest: str
    """Over name, type, shape and every byte read."""
    content: str | None
    """Over type, shape and both ends, without the name; None for a vector or a constant."""
    sketch: Array | None
    """(128,) float32 of length 1, of the centred sample; None as for `content`."""
    whole: bool
    """Whether every byte of it was read."""


class RangeReader:
    """Reads byte ranges of files and counts the bytes."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self._open: dict[Path, BinaryIO] = {}
        self._files = ExitStack()

    def __enter__(self) -> "RangeReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`.

        Raises:
            SubjectError: the file ends before, or cannot be read.
        """
        try:
            if path not in self._open:
                self._open[path] = self._files.enter_context(path.open("rb"))
            found = os.pread(self._open[path].fileno(), size, offset)
        except OSError as error:
            raise SubjectError(
                f"{path} cannot be read: {error.strerror}", hint="check the file and its rights"
            ) from error
        self.bytes_read += len(found)
        if len(found) != size:
            raise SubjectError(
                f"{path} ends inside a tensor", hint="copy or download the file again"
            )
        return found


def planned_bytes(weights: WeightFiles, seed: int) -> int:
    """Return how many bytes `sampled` will read, from the headers alone."""
    total = 0
    for name, (_, chosen) in _chosen(weights, seed):
        read, tensor = sum(size for _, size in _ranges(weights, name, chosen)), weights.stored[name]
        total += read if read == tensor.size else read + 2 * EDGE_BYTES
    return total


def sampled(weights: WeightFiles, reader: RangeReader, seed: int) -> Iterator[TensorSample]:
    """Yield the sample of each tensor, by name; one tensor's is in memory at a time.

    Raises:
        SubjectError: a file cannot be read to its end.
        AccessError: blocks of a type cannot be unpacked.
    """
    for name, (place, chosen) in _chosen(weights, seed):
        tensor = weights.stored[name]
        read = bytearray()
        for offset, size in _ranges(weights, name, chosen):
            read += reader.read(tensor.path, offset, size)
        whole = len(read) == tensor.size
        if whole:
            edges = bytes(read[:EDGE_BYTES] + read[-EDGE_BYTES:])
        else:
            edges = b"".join(reader.read(tensor.path, *edge) for edge in _edges(tensor))
        unit = _unit(weights, name, read) if len(tensor.shape) > 1 else None
        yield TensorSample(
            name=name,
            place=place,
            digest=_digest({"name": name, **_label(tensor)}, bytes(read), edges),
            content=None if unit is None else _digest(_label(tensor), edges),
            sketch=None if unit is None else _sketch(unit, place, seed),
            whole=whole,
        )


def _chosen(
    weights: WeightFiles, seed: int
) -> Iterator[tuple[str, tuple[Place, tuple[Window, ...]]]]:
    """Yield (name, (place, windows)) of every tensor that has elements."""
    shapes: Mapping[str, tuple[int, ...]] = weights.shapes
    places = {name: place_of(name, shape) for name, shape in shapes.items()}
    most = share_of_a_tensor(places.values())
    for name, place in places.items():
        if place.elements:
            yield name, (place, windows(place, seed, most))


def _ranges(
    weights: WeightFiles, name: str, chosen: tuple[Window, ...]
) -> Iterator[tuple[int, int]]:
    """Yield (offset, bytes) in the order of the windows, neighbours joined to one range."""
    offset = size = 0
    for window in chosen:
        start, more = weights.byte_range(name, window.row, (window.start, window.stop))
        if size and start == offset + size:
            size += more
            continue
        if size:
            yield offset, size
        offset, size = start, more
    yield offset, size


def _edges(tensor: StoredTensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (offset, bytes) of both ends of a tensor that is not read whole, so is large."""
    return (
        (tensor.start, EDGE_BYTES),
        (tensor.start + tensor.size - EDGE_BYTES, EDGE_BYTES),
    )


def _label(tensor: StoredTensor) -> dict[str, object]:
    return {"dtype": tensor.dtype, "shape": list(tensor.shape)}


def _digest(label: dict[str, object], *parts: bytes) -> str:
    hasher = hashlib.sha256(canonical_json(label))
    for part in parts:
        hasher.update(part)
    return "sha256:" + hasher.hexdigest()


def _unit(weights: WeightFiles, name: str, read: bytearray) -> Array | None:
    """Return (n,) the sample, centred and of length 1; None where it is constant or not finite."""
    values = weights.decoded(name, read).float().numpy()
    # A common offset would make any two tensors alike; what remains is the pattern.
    centred = values - values.mean(dtype=np.float64)
    length = float(np.sqrt(np.dot(centred, centred)))
    if not np.isfinite(length) or length == 0:
        return None
    return np.asarray(centred / length, dtype=np.float32)


def _sketch(unit: Array, place: Place, seed: int) -> Array | None:
    """Return (128,) float32: a count sketch of length 1; None where its sums cancel.

    The cosine of two sketches estimates that of the samples, with a standard error of about
    1/sqrt(128) where they are unrelated, and none where they are equal.
    """
    sums = tensor_sketch(unit, SKETCH, label_of(place, seed, "sketch")).astype(np.float64)
    length = float(np.sqrt(np.dot(sums, sums)))
    return None if length == 0 else np.asarray(sums / length, dtype=np.float32)
