"""Lines of JSON, read one at a time: every error names file and line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditor.canon import whole_json
from auditor.errors import RecordsError

MOST_LINE = 1 << 26
"""Bytes of one line: a reply of a model has a few thousand."""
_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"


def json_lines(path: Path, hint: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (``file, line 3``, object) of each line that is not blank.

    Args:
        path: the file.
        hint: what a line looks like.

    Raises:
        RecordsError: it cannot be read, a line is longer than `MOST_LINE`, not UTF-8 (with the
            byte), not a JSON object, or cut off at the end of the file.
    """
    at = 0
    for number, raw in enumerate(_raw_lines(path), start=1):
        where = f"{path}, line {number}"
        content = raw.removeprefix(_MARK) if number == 1 else raw
        text = _decoded(content, path, number, at + len(raw) - len(content))
        at += len(raw)
        if text.strip():
            yield where, _object(text, where, hint, whole=raw.endswith(b"\n"))


def parsed_object(text: str, where: str, hint: str) -> dict[str, Any]:
    """Return a JSON object; half of a surrogate pair in it is read as U+FFFD.

    Raises:
        RecordsError: it is something else.
    """
    try:
        entry = whole_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise RecordsError(f"{where}: not JSON ({error})", hint=hint) from error
    if not isinstance(entry, dict):
        raise RecordsError(f"{where}: not a JSON object", hint=hint)
    return entry


def check_file(path: Path) -> None:
    """Refuse what is read more than once, and named in a case, and cannot be.

    Raises:
        RecordsError: it is no regular file, packed, cannot be read, or its name is not UTF-8.
    """
    try:
        str(path).encode()
        if not path.is_file() and path.exists():
            raise RecordsError(
                f"{path} is no regular file", hint="give a file on disk: it is read more than once"
            )
        with path.open("rb") as stream:
            packed = stream.read(2) == _GZIP
    except UnicodeEncodeError as error:
        raise RecordsError(f"the name {str(path)!a} is not UTF-8", hint="rename it") from error
    except OSError as error:
        raise unreadable(path, error) from error
    if packed:
        raise RecordsError(f"{path} is packed with gzip", hint="unpack it: gunzip --keep FILE")


def unreadable(path: Path, error: OSError) -> RecordsError:
    """Return the error for a file that cannot be opened."""
    return RecordsError(f"{path} cannot be read: {error.strerror}", hint="check the path")


def _object(text: str, where: str, hint: str, *, whole: bool) -> dict[str, Any]:
    try:
        return parsed_object(text, where, hint)
    except RecordsError as error:
        if whole or not text.lstrip().startswith("{"):
            raise
        raise RecordsError(
            f"{error.message}; the file ends in this line, without a line break",
            hint="the file was cut off: copy it again, or remove its last line",
        ) from error


def _raw_lines(path: Path) -> Iterator[bytes]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error
    with stream:
        number = 0
        # Of bytes, not text: texts may hold U+2028 and the like.
        while line := stream.readline(MOST_LINE + 1):
            number += 1
            if len(line) > MOST_LINE:
                raise RecordsError(
                    f"{path}, line {number}: longer than {MOST_LINE >> 20} MiB",
                    hint="write one reply a line, each ended by a line break",
                )
            yield line


def _decoded(raw: bytes, path: Path, number: int, at: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordsError(
            f"{path} is not UTF-8: byte {at + error.start} (line {number}) is "
            f"0x{raw[error.start]:02x}",
            hint="save the file as UTF-8",
        ) from error
