"""The log of a watch: a head, then a line for each reply, written as it comes.

An answer is ``{"cell", "answer", "text", "time"}``, its cell and answer as numbered in the
baseline. A reply that a server filtered or refused is no answer: ``outcome`` says which, and there
is no cell. Beside both stand ``model`` and ``fingerprint`` where a server names them. One process
at a time holds a log: two that went on with the same answers would count them twice.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, TypeGuard

from auditor.canon import canonical_json
from auditor.case import storage_errors
from auditor.errors import InputError
from auditor.held import held

SCHEMA = "auditor/watch-log/2"
SEEDS = 2**31
"""Seeds are below it: 31 bits are what servers take."""
_ANOTHER = "give another --log"


class WatchLog:
    """The replies of a watch so far; in memory only where there is no file."""

    def __init__(self, seed: int, lines: list[dict[str, Any]]) -> None:
        self.seed = seed
        self.lines = lines
        self._stream: FileIO | None = None
        self._path = Path()

    def write_to(self, stream: FileIO, path: Path) -> None:
        """Add every line that comes to a file."""
        self._stream, self._path = stream, path

    def append(self, line: dict[str, Any]) -> None:
        """Add a line.

        Raises:
            StorageError: the disk is full; what was added before is intact.
        """
        self.lines.append(line)
        if self._stream is not None:
            _write(self._stream, self._path, line)


@contextlib.contextmanager
def opened_log(path: Path | None, head: dict[str, Any], sizes: Sequence[int]) -> Iterator[WatchLog]:
    """Yield a log, held until the end; it is begun where there is none.

    Half a line at the end, which a kill leaves, is cut off.

    Args:
        path: None: in memory only.
        head: the first line: ``schema``, ``subject``, ``baseline`` and ``seed``; the seed of a log
            that is there is kept.
        sizes: of each cell, how many answers it has.

    Raises:
        InputError: another process holds it, or it is of another watch, broken, or no log.
        StorageError: it cannot be written.
    """
    if path is None:
        yield WatchLog(head["seed"], [])
        return
    with held(path, "--log") as stream:
        stream.seek(0)
        log = _read(stream, path, head, sizes)
        log.write_to(stream, path)
        yield log


def _read(stream: FileIO, path: Path, head: dict[str, Any], sizes: Sequence[int]) -> WatchLog:
    content = stream.readall()
    whole, newline, torn = content.rpartition(b"\n")
    if not newline:
        if not _begins(content, head):
            raise InputError(f"{path} is no log of this watch", hint=_ANOTHER)
        _cut(stream, path, 0)
        _write(stream, path, head)
        return WatchLog(head["seed"], [])
    first, *lines = [_parsed(path, n, line) for n, line in enumerate(whole.split(b"\n"), start=1)]
    if any(first.get(key) != head[key] for key in ("schema", "subject", "baseline")):
        raise InputError(
            f"{path} is the log of another subject or baseline, or of another release",
            hint=_ANOTHER,
        )
    if not _is_below(first.get("seed"), SEEDS):
        raise _broken(path, 1)
    for number, line in enumerate(lines, start=2):
        if not _is_reply(line, sizes):
            raise _broken(path, number)
    if torn:
        _cut(stream, path, len(whole) + 1)
    return WatchLog(first["seed"], lines)


def _begins(content: bytes, head: dict[str, Any]) -> bool:
    """Whether this is the beginning of a head, whose seed may be another."""
    start = canonical_json(head).partition(b'"seed":')[0]
    return start.startswith(content) or content.startswith(start)


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _broken(path, number)
    return found


def _is_reply(line: dict[str, Any], sizes: Sequence[int]) -> bool:
    if not all(isinstance(line.get(key, ""), str) for key in ("model", "fingerprint")):
        return False
    if "cell" not in line and "answer" not in line:
        return line.get("outcome") in ("filtered", "refusal")
    cell, answer = line.get("cell"), line.get("answer")
    return _is_below(cell, len(sizes)) and _is_below(answer, sizes[cell])


def _is_below(value: Any, limit: int) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < limit


def _broken(path: Path, number: int) -> InputError:
    return InputError(
        f"{path}, line {number}: not what a watch with this baseline writes",
        hint=f"restore the file, or {_ANOTHER}",
    )


def _cut(stream: FileIO, path: Path, end: int) -> None:
    with storage_errors(path):
        stream.truncate(end)


def _write(stream: FileIO, path: Path, line: dict[str, Any]) -> None:
    left = memoryview(canonical_json(line) + b"\n")
    with storage_errors(path):
        while left:
            left = left[stream.write(left) :]
        os.fsync(stream.fileno())
