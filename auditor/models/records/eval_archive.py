"""Members of an inspect_ai ``.eval`` file: a zip of JSON, deflated or packed with Zstandard.

Nothing is written to disk. Sizes are limited while a member is unpacked, whatever the zip declares.
Method 93 is Zstandard (PKWARE APPNOTE 6.3.8, 4.4.5), which Python's ``zipfile`` cannot read before
3.14; the format is that of RFC 8878, read by pyarrow.
"""

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Self

from auditor.errors import MissingExtraError, RecordsError
from auditor.models.records.lines import unreadable

MOST_MEMBERS = 200_000
MOST_MEMBER = 1 << 28
"""Bytes of one sample, unpacked."""
MOST_TOTAL = 1 << 36
"""Bytes of all samples, as the zip declares them."""
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED, _ZSTANDARD = 0, 8, 93
_HINT = "write it again with: inspect log convert FILE --to json --output-dir DIR"


class EvalArchive:
    """An open ``.eval`` file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._stream: BinaryIO = path.open("rb")
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            self._members = self._directory()
        except BaseException:
            self.close()
            raise

    @property
    def names(self) -> list[str]:
        """Names of the members, in the order of the zip."""
        return list(self._members)

    def read(self, name: str) -> bytes:
        """Return a member.

        Raises:
            RecordsError: it is broken, encrypted, packed by another method or too large.
            MissingExtraError: it is packed with Zstandard and the extra ``records`` is missing.
        """
        info = self._members[name]
        packed = self._packed(info)
        try:
            content = self._unpacked(packed, info)
        except (zlib.error, OSError, ValueError) as error:
            raise self._error(f"{name} cannot be unpacked: {error}") from error
        if len(content) > MOST_MEMBER:
            raise self._error(f"{name} unpacks to more than {MOST_MEMBER >> 20} MiB")
        if zlib.crc32(content) != info.CRC:
            raise self._error(f"{name} is not the content that the zip declares")
        return content

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _directory(self) -> dict[str, zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(self._stream) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
            raise self._error(f"not a readable zip: {error}") from error
        # Of a name that stands twice the last entry counts: a sample that was run again.
        members = {info.filename: info for info in infos}
        if len(infos) > MOST_MEMBERS:
            raise self._error(f"the zip holds more than {MOST_MEMBERS:,} members")
        if sum(info.file_size for info in infos) > MOST_TOTAL:
            raise self._error(f"the zip unpacks to more than {MOST_TOTAL >> 30} GiB")
        return members

    def _packed(self, info: zipfile.ZipInfo) -> bytes:
        """Return the packed bytes of a member, from behind its local header."""
        if info.file_size > MOST_MEMBER or info.compress_size > MOST_MEMBER:
            raise self._error(f"{info.filename} unpacks to more than {MOST_MEMBER >> 20} MiB")
        if info.flag_bits & 1:
            raise self._error(f"{info.filename} is encrypted")
        header = self._local_header(info)
        if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
            raise self._error(f"{info.filename} has no local header")
        name, extra = _LOCAL.unpack(header)[9:]
        self._stream.seek(name + extra, 1)
        packed = self._stream.read(info.compress_size)
        if len(packed) < info.compress_size:
            raise self._error(f"{info.filename} ends too early")
        return packed

    def _local_header(self, info: zipfile.ZipInfo) -> bytes:
        """Return the bytes at the declared place: too few where it is not in the file."""
        if not 0 <= info.header_offset < self._stream.seek(0, os.SEEK_END):
            return b""
        self._stream.seek(info.header_offset)
        return self._stream.read(_LOCAL.size)

    def _unpacked(self, packed: bytes, info: zipfile.ZipInfo) -> bytes:
        """Return at most one byte more than is allowed."""
        if info.compress_type == _STORED:
            return packed
        if info.compress_type == _DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, MOST_MEMBER + 1)
        if info.compress_type == _ZSTANDARD:
            return _zstandard(packed)
        raise self._error(f"{info.filename} is packed by method {info.compress_type}")

    def _error(self, why: str) -> RecordsError:
        return RecordsError(f"{self._path}: {why}", hint=_HINT)


def _zstandard(packed: bytes) -> bytes:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError(
            "this .eval file is packed with Zstandard, which needs pyarrow",
            hint="pip install 'auditor[records]', or: inspect log convert FILE --to json "
            "--output-dir DIR",
        ) from error
    source = pyarrow.BufferReader(packed)
    with pyarrow.CompressedInputStream(source, "zstd") as stream:
        content: bytes = stream.read(MOST_MEMBER + 1)
    return content
