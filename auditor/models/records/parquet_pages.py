"""How much memory the pages of a parquet file take when they are decoded, found without decoding.

A page is unpacked whole, whatever few rows are asked for, and what the file's footer says of its
size binds nobody. The size that the reader allocates is in the header before each page: a struct of
Thrift's compact protocol (parquet-format 2.10, ``PageHeader``).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_PLAIN, _PACKED = 2, 3
"""Fields of a header: bytes of the page, unpacked and as it lies in the file."""
_COUNTS = (5, 7, 8)
"""Of data, of a dictionary, of data in version 2: structs whose first field counts the values."""
_DICTIONARY = 7
_OF_VALUE = 16
"""Bytes that a value takes beside its content: levels, index, offset."""
_DEEPEST = 8
_BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 3, 7, 8, 9, 10, 12
_WHOLE = (4, 5, 6)


def largest_row(path: Path, metadata: Any, leaves: set[str]) -> int:
    """Return the most bytes that the values of a row take, or one page of each of its columns.

    No value is longer than the largest page of its column. Of lists the mean length counts: a row
    with a list far longer than those of the other rows may take more.

    Args:
        path: the file.
        metadata: its `pyarrow.parquet.FileMetaData`.
        leaves: names of columns as the file's schema has them, ``messages.list.element.role``.

    Raises:
        ValueError: a header cannot be read.
        OSError: the file cannot be read.
    """
    largest = dict.fromkeys(leaves, 0)
    with path.open("rb") as stream:
        for group in range(metadata.num_row_groups):
            row_group = metadata.row_group(group)
            for at in range(row_group.num_columns):
                column = row_group.column(at)
                name = column.path_in_schema
                if name in largest:
                    most = max(_weights(stream, column), default=0)
                    listed = max(1, -(-column.num_values // max(1, row_group.num_rows)))
                    largest[name] = max(largest[name], most * listed)
    return sum(largest.values())


def _weights(stream: BinaryIO, column: Any) -> Iterator[int]:
    """Yield the bytes that each page of one column of a group of rows takes."""
    at = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        at = min(at, column.dictionary_page_offset)
    end, seen = at + column.total_compressed_size, 0
    while at < end and seen < column.num_values:
        stream.seek(at)
        header = _struct(stream)
        plain, packed = header.get(_PLAIN, -1), header.get(_PACKED, -1)
        if min(plain, packed) < 0:
            raise ValueError(f"the page at byte {at} has no size")
        counts = {kind: header[kind].get(1, 0) for kind in _COUNTS if kind in header}
        yield plain + _OF_VALUE * sum(counts.values())
        seen += sum(count for kind, count in counts.items() if kind != _DICTIONARY)
        at = stream.tell() + packed


def _struct(stream: BinaryIO, depth: int = 0) -> dict[int, Any]:
    """Return the whole numbers and structs among the fields of a struct, by number."""
    if depth > _DEEPEST:
        raise ValueError("a page header is nested too deep")
    found: dict[int, Any] = {}
    number = 0
    while (mark := _byte(stream)) != 0:
        step, kind = mark >> 4, mark & 15
        number = number + step if step else _whole(stream)
        value = None if kind in (1, 2) else _value(stream, kind, depth)
        if value is not None:
            found[number] = value
    return found


def _value(stream: BinaryIO, kind: int, depth: int) -> Any:
    if kind in _WHOLE:
        return _whole(stream)
    if kind == _STRUCT:
        return _struct(stream, depth + 1)
    if kind in (_LIST, _SET):
        mark = _byte(stream)
        count = mark >> 4 if mark >> 4 < 15 else _varint(stream)
        for _ in range(count):
            _value(stream, 3 if mark & 15 in (1, 2) else mark & 15, depth + 1)
        return None
    skipped = {_BYTE: 1, _DOUBLE: 8}.get(kind)
    if kind == _BINARY:
        skipped = _varint(stream)
    if skipped is None:
        raise ValueError(f"a page header has a field of the unknown type {kind}")
    stream.seek(skipped, 1)
    return None


def _whole(stream: BinaryIO) -> int:
    value = _varint(stream)
    return (value >> 1) ^ -(value & 1)


def _varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = _byte(stream)
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise ValueError("a page header has a number of more than 64 bits")


def _byte(stream: BinaryIO) -> int:
    found = stream.read(1)
    if not found:
        raise ValueError("the file ends within a page header")
    return found[0]
