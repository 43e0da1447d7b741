"""What a GGUF file says before its tensors: metadata of every value type, and the tensor table.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3. Read here,
without loading a tensor, because a digest needs the stored bytes and the readers at hand flatten
or refuse nested arrays.
"""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

from auditor.errors import MissingExtraError, SubjectError
from auditor.models.checkpoint import StoredTensor

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {
    0: "<B",  # uint8
    1: "<b",  # int8
    2: "<H",  # uint16
    3: "<h",  # int16
    4: "<I",  # uint32
    5: "<i",  # int32
    6: "<f",  # float32
    7: "<?",  # bool
    10: "<Q",  # uint64
    11: "<q",  # int64
    12: "<d",  # float64
}
_STRING, _ARRAY = 8, 9
_MAX_DEPTH = 8  # arrays in arrays; a hostile file could nest without end
_DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """Metadata by key, and where each tensor is; `dtype` of a tensor is its ggml type's name."""

    version: int
    metadata: dict[str, Any]
    tensors: tuple[StoredTensor, ...]
    """Sorted by name. Shapes are as in the file: fastest-moving axis first."""


def read_header(path: Path) -> GgufHeader:
    r"""Return the header of a GGUF file, after checking that the bytes of all tensors are there.

    Strings that are not UTF-8 keep their odd bytes as ``\xNN``.

    Raises:
        SubjectError: it is no GGUF file, of another version, split, corrupt or truncated.
        MissingExtraError: the package ``gguf`` (sizes of quantised blocks) is not installed.
    """
    if path.stat().st_size < len(_MAGIC) + 20:
        _fail(path, "it is too short to be a GGUF file")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        cursor = _Cursor(data, path)
        try:
            return _parse(cursor)
        except struct.error:
            _fail(path, "it is cut off in its header")


class _Cursor:
    """Reads values one after another."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data = data
        self.path = path
        self.at = 0

    def scalar(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str:
        return self._bytes(self.scalar("<Q")).decode(errors="backslashreplace")

    def _bytes(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            _fail(self.path, f"a text of {count} bytes runs past its end")
        self.at += count
        return self.data[self.at - count : self.at]

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY or depth >= _MAX_DEPTH:
            _fail(self.path, f"unknown metadata type {kind}, or arrays nested too deep")
        return self._array(depth)

    def _array(self, depth: int) -> list[Any]:
        kind, count = self.scalar("<I"), self.scalar("<Q")
        if count > len(self.data) - self.at:  # every element takes a byte at least
            _fail(self.path, f"an array of {count} elements runs past its end")
        if kind in _SCALARS:
            form = f"<{count}{_SCALARS[kind][1]}"
            values = struct.unpack_from(form, self.data, self.at)
            self.at += struct.calcsize(form)
            return list(values)
        return [self.value(kind, depth + 1) for _ in range(count)]


def _parse(cursor: _Cursor) -> GgufHeader:
    if cursor.data[:4] != _MAGIC:
        _fail(cursor.path, "it does not begin with GGUF")
    cursor.at = 4
    version = cursor.scalar("<I")
    if version not in _VERSIONS:
        raise SubjectError(
            f"{cursor.path} is GGUF of version {version} or big-endian; 2 and 3 can be read",
            hint="convert the model again with a current llama.cpp",
        )
    tensors, keys = cursor.scalar("<Q"), cursor.scalar("<Q")
    metadata: dict[str, Any] = {}
    for _ in range(keys):
        key = cursor.text()
        if key in metadata:
            _fail(cursor.path, f"the key {key} occurs twice")
        metadata[key] = cursor.value(cursor.scalar("<I"))
    if metadata.get("split.count", 1) not in (0, 1):
        raise SubjectError(
            f"{cursor.path} is one part of {metadata['split.count']}",
            hint="join the parts first: llama-gguf-split --merge",
        )
    table = [_entry(cursor) for _ in range(tensors)]
    return GgufHeader(version=version, metadata=metadata, tensors=_placed(cursor, metadata, table))


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def _entry(cursor: _Cursor) -> _Entry:
    name, axes = cursor.text(), cursor.scalar("<I")
    if axes > 8:
        _fail(cursor.path, f"{name} has {axes} axes")
    shape = tuple(cursor.scalar("<Q") for _ in range(axes))
    return _Entry(name, shape, cursor.scalar("<I"), cursor.scalar("<Q"))


def _placed(
    cursor: _Cursor, metadata: dict[str, Any], table: list[_Entry]
) -> tuple[StoredTensor, ...]:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        _fail(cursor.path, f"its alignment is {alignment!r}")
    data_start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, StoredTensor] = {}
    for entry in table:
        kind, size = _storage(cursor.path, entry)
        start = data_start + entry.offset
        if start + size > len(cursor.data):
            _fail(cursor.path, f"it ends before the end of {entry.name}")
        if entry.name in tensors:
            _fail(cursor.path, f"the tensor {entry.name} occurs twice")
        tensors[entry.name] = StoredTensor(
            name=entry.name,
            dtype=kind,
            shape=entry.shape,
            path=cursor.path,
            start=start,
            size=size,
        )
    return tuple(tensors[name] for name in sorted(tensors))


def _storage(path: Path, entry: _Entry) -> tuple[str, int]:
    """Return the ggml type's name and the bytes that the tensor takes."""
    require_gguf()
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        kind = GGMLQuantizationType(entry.kind)
    except ValueError as error:
        raise SubjectError(
            f"{path}: {entry.name} is of ggml type {entry.kind}, unknown to the package gguf",
            hint="pip install --upgrade gguf",
        ) from error
    block, size = GGML_QUANT_SIZES[kind]
    if entry.shape and entry.shape[0] % block:
        _fail(path, f"{entry.name} is no whole number of {kind.name} blocks")
    return kind.name, math.prod(entry.shape) // block * size


def require_gguf() -> None:
    """Refuse to go on without the package ``gguf``.

    Raises:
        MissingExtraError: it is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("gguf") is None:
        raise MissingExtraError("GGUF files need the package gguf", hint="pip install gguf")


def _fail(path: Path, why: str) -> Never:
    raise SubjectError(f"{path} is corrupt: {why}", hint="copy or download the file again")
