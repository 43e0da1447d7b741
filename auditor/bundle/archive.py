"""A zip of unknown origin, read by hand: central directory and local headers must tell the same.

Nothing of Python's ``zipfile`` is used: it believes the central directory alone, and other tools
believe the local headers, so that one file could show two contents. Read from PKWARE's
APPNOTE 6.3: section 4.3.7 (local header), 4.3.12 (central), 4.3.16 (end). Zip64, encryption and
methods other than stored and deflated are refused.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from auditor.bundle.listing import MOST_BYTES, MOST_FILES, name_faults

_END = struct.Struct("<4s4H2LH")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MOST_RATIO = 200
_RATIO_FROM = 1 << 20
"""Bytes. Smaller files may be packed as well as they are."""
_CHUNK_BYTES = 1 << 20
_DEFLATED = 8
_DESCRIPTOR, _UTF8, _OPTIONS = 1 << 3, 1 << 11, 0b110


class ArchiveError(ValueError):
    """A zip that is not read further; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or folder in a zip, as the central directory has it."""

    name: str
    raw_name: bytes
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    """Unix mode; 0 where the maker's system has none."""
    flags: int
    offset: int
    """Of its local header."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.name.endswith("/")


def is_archive(path: Path) -> bool:
    """Whether a file starts as a zip does."""
    with path.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def read_entries(path: Path) -> list[Entry]:
    """Return the entries of a zip, all of which are safe to unpack.

    Raises:
        ArchiveError: it is malformed, its two directories differ, or something in it is hostile.
    """
    with path.open("rb") as stream:
        entries = _central(stream)
        faults = name_faults(entry.name.removesuffix("/") for entry in entries)
        faults += [fault for entry in entries for fault in _entry_faults(entry)]
        if sum(entry.size for entry in entries) > MOST_BYTES:
            faults.append(f"more than {MOST_BYTES:,} bytes")
        if faults:
            raise ArchiveError("; ".join(faults[:5]))
        _check_layout(stream, entries)
    return entries


def unpack(path: Path, entries: list[Entry], target: Path) -> None:
    """Write the entries below an empty folder, each checked while it is read.

    Raises:
        ArchiveError: the content is not as long, or not the one, that the directory says.
    """
    with path.open("rb") as stream:
        for entry in entries:
            place = target / entry.name
            if entry.is_folder:
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as copy:
                for chunk in _content(stream, entry):
                    copy.write(chunk)


def _central(stream: BinaryIO) -> list[Entry]:
    size = stream.seek(0, 2)
    if size < _END.size:
        raise ArchiveError("shorter than a zip can be")
    stream.seek(size - _END.size)
    fields = _END.unpack(stream.read(_END.size))
    # A comment would let a second end record hide in it: the record must end the file.
    if fields[0] != b"PK\x05\x06" or fields[7] != 0:
        raise ArchiveError("the end record is not the end of the file")
    _, disk, first_disk, here, count, length, start, _ = fields
    if (disk, first_disk, here) != (0, 0, count) or 0xFFFF in (here, count):
        raise ArchiveError("it has several parts, or is a Zip64 file")
    if count > MOST_FILES or start + length != size - _END.size:
        raise ArchiveError("the central directory is not where the end record says")
    stream.seek(start)
    entries = list(_central_entries(stream.read(length), count))
    if len({entry.raw_name for entry in entries}) != count:
        raise ArchiveError("a name is there twice")
    return entries


def _central_entries(content: bytes, count: int) -> Iterator[Entry]:
    at = 0
    for _ in range(count):
        if len(content) < at + _CENTRAL.size:
            raise ArchiveError("the central directory ends too early")
        fields = _CENTRAL.unpack_from(content, at)
        name_size, extra, comment = fields[10:13]
        if fields[0] != b"PK\x01\x02" or fields[13] != 0:
            raise ArchiveError("the central directory is malformed")
        raw = content[at + _CENTRAL.size : at + _CENTRAL.size + name_size]
        at += _CENTRAL.size + name_size + extra + comment
        yield Entry(
            name=_decoded(raw, fields[3]),
            raw_name=raw,
            method=fields[4],
            crc=fields[7],
            packed=fields[8],
            size=fields[9],
            # The high byte of "made by" is the system: 3 is Unix.
            mode=fields[15] >> 16 if fields[1] >> 8 == 3 else 0,
            flags=fields[3],
            offset=fields[16],
        )
    if at != len(content):
        raise ArchiveError("the central directory is longer than its entries")


def _decoded(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"{raw!r} is no name in UTF-8") from error


def _entry_faults(entry: Entry) -> Iterator[str]:
    kind = stat.S_IFMT(entry.mode)
    if kind not in (0, stat.S_IFDIR if entry.is_folder else stat.S_IFREG):
        yield f"{entry.name!r} is a link or a device"
    if entry.flags & ~(_DESCRIPTOR | _UTF8 | _OPTIONS):
        yield f"{entry.name!r} is encrypted or patched"
    if entry.method not in (0, _DEFLATED):
        yield f"{entry.name!r} is packed by method {entry.method}"
    if 0xFFFFFFFF in (entry.packed, entry.size, entry.offset):
        yield f"{entry.name!r} needs Zip64"
    if entry.size > _RATIO_FROM and entry.size > _MOST_RATIO * entry.packed:
        yield f"{entry.name!r} unpacks to more than {_MOST_RATIO} times its size"
    if entry.is_folder and entry.size:
        yield f"{entry.name!r} is a folder with content"


def _check_layout(stream: BinaryIO, entries: list[Entry]) -> None:
    """Compare each local header with its entry; nothing may lie between, before or after them."""
    at = 0
    for entry in sorted(entries, key=lambda one: one.offset):
        if entry.offset != at:
            raise ArchiveError(f"bytes that no entry owns, or two entries share, at {at}")
        start = _content_start(stream, entry)
        at = start + entry.packed + _descriptor_size(stream, entry, start + entry.packed)
    stream.seek(at)
    if stream.read(4) not in (b"PK\x01\x02", b"PK\x05\x06"):
        raise ArchiveError(f"bytes that no entry owns at {at}")


def _content_start(stream: BinaryIO, entry: Entry) -> int:
    stream.seek(entry.offset)
    header = stream.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        raise ArchiveError(f"{entry.name!r} has no local header")
    fields = _LOCAL.unpack(header)
    name = stream.read(fields[9])
    later = bool(entry.flags & _DESCRIPTOR)
    told = (0, 0, 0) if later else (entry.crc, entry.packed, entry.size)
    same = (fields[0], fields[2], fields[3], name) == (
        b"PK\x03\x04",
        entry.flags,
        entry.method,
        entry.raw_name,
    )
    if not same or fields[6:9] != told:
        raise ArchiveError(f"{entry.name!r}: its local header tells something else")
    return entry.offset + _LOCAL.size + fields[9] + fields[10]


def _descriptor_size(stream: BinaryIO, entry: Entry, at: int) -> int:
    if not entry.flags & _DESCRIPTOR:
        return 0
    stream.seek(at)
    wanted = struct.pack("<3L", entry.crc, entry.packed, entry.size)
    found = stream.read(16)
    if found == b"PK\x07\x08" + wanted:
        return 16
    if found[:12] == wanted:
        return 12
    raise ArchiveError(f"{entry.name!r}: its data descriptor tells something else")


def _content(stream: BinaryIO, entry: Entry) -> Iterator[bytes]:
    stream.seek(_content_start(stream, entry))
    left, size, crc = entry.packed, 0, 0
    inflater = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == _DEFLATED else None
    while left:
        packed = stream.read(min(left, _CHUNK_BYTES))
        if not packed:
            raise ArchiveError(f"{entry.name!r} ends too early")
        left -= len(packed)
        for chunk in _inflated(inflater, packed, entry.name):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            if size > entry.size:
                raise ArchiveError(f"{entry.name!r} is longer than the directory says")
            yield chunk
    if (size, crc) != (entry.size, entry.crc) or (inflater is not None and not inflater.eof):
        raise ArchiveError(f"{entry.name!r} is not the content that the directory says")


def _inflated(inflater: "zlib._Decompress | None", packed: bytes, name: str) -> Iterator[bytes]:
    """Yield at most 1 MiB at a time, however much a chunk unpacks to."""
    if inflater is None:
        yield packed
        return
    try:
        while packed:
            yield inflater.decompress(packed, _CHUNK_BYTES)
            packed = inflater.unconsumed_tail
        if inflater.unused_data:
            raise ArchiveError(f"{name!r} has bytes after its end")
    except zlib.error as error:
        raise ArchiveError(f"{name!r} cannot be unpacked: {error}") from error
