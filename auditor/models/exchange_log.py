"""Every attempt to ask a server, as it went: one JSON object a line, appended as it ends.

``request`` and its digest, ``attempt`` (from 1, over all runs), ``about`` (whose reply it asks
for), ``sent`` (UTC), ``seconds`` until the end of the reply, ``status`` or ``error``, those headers
of the reply that tell something, and the bytes of its body: ``body`` as text, or ``body_base64``
where they are not UTF-8. Failures and refusals stand there beside the replies. A request that was
answered is found again by its digest, so that no call is paid twice.
"""

import base64
import json
import os
import threading
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from auditor.canon import canonical_json, canonical_object, json_digest
from auditor.case import storage_errors
from auditor.errors import CaseError
from auditor.exchanges import body_bytes
from auditor.models.server_request import Request
from auditor.spellings import replaced

KEPT_HEADERS = (
    "content-type",
    "date",
    "openai-model",
    "openai-processing-ms",
    "openai-version",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "server",
    "x-request-id",
)
"""All others may identify an account; of the rest those that start with `KEPT_PREFIX` are kept."""
KEPT_PREFIX = "x-ratelimit-"


class ExchangeLog:
    """The attempts of a run; in memory only where no path is given. Threads may share it."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what is there; half a line at the end, which a kill leaves, is cut off.

        Raises:
            CaseError: a line is not one that was written here.
            StorageError: the disk refused the cut.
        """
        self._path = path
        self._stream: FileIO | None = None
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._flushed = 0
        self._places: dict[str, tuple[int, int]] = {}
        self._kept: dict[str, bytes] = {}
        self._attempts: dict[str, int] = {}
        self._end = 0
        if path is not None and path.is_file():
            self._read(path)

    def __len__(self) -> int:
        """Return the number of requests that were answered."""
        return len(self._places) + len(self._kept)

    def __contains__(self, request: Request) -> bool:
        """Say whether a request was answered, in this run or before."""
        with self._lock:
            return request.digest in self._places or request.digest in self._kept

    def reply(self, request: Request) -> bytes | None:
        """Return the body with which a request was answered; None where it was not."""
        with self._lock:
            if self._path is None:
                return self._kept.get(request.digest)
            place = self._places.get(request.digest)
            if place is None:
                return None
            with self._path.open("rb") as stream:
                stream.seek(place[0])
                return body_bytes(json.loads(stream.read(place[1])))

    def attempts(self, request: Request) -> int:
        """Return how often a request was sent, in this run and before."""
        with self._lock:
            return self._attempts.get(request.digest, 0)

    def append(self, request: Request, attempt: dict[str, Any], *, answered: bool) -> None:
        """Add an attempt; with `answered` its body is the reply to the request from now on.

        Raises:
            StorageError: the disk is full; what was added before is intact.
        """
        name = request.digest
        entry = {**attempt, "request_digest": name, "answered": answered}
        values = {key: canonical_json(value) for key, value in entry.items()}
        values["request"] = request.line
        with self._lock:
            self._attempts[name] = number = self._attempts.get(name, 0) + 1
            if self._path is None:
                if answered:
                    self._kept[name] = body_bytes(entry)
                return
            line = canonical_object({**values, "attempt": canonical_json(number)}) + b"\n"
            with storage_errors(self._path):
                stream = self._opened(self._path)
                self._add(stream, line)
            if answered:
                self._places[name] = (self._end, len(line))
            self._end = end = self._end + len(line)
        with storage_errors(self._path):
            self._flush(stream, end)

    def close(self) -> None:
        """Close the file, after the last attempt; another one opens it again."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
            self._stream = None

    def _opened(self, path: Path) -> FileIO:
        # Once: to open it for each line takes longer than to write the line.
        if self._stream is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("ab", buffering=0)
        return self._stream

    def _add(self, stream: FileIO, line: bytes) -> None:
        left = memoryview(line)
        try:
            while left:
                left = left[stream.write(left) :]
        except OSError:
            stream.truncate(self._end)  # half a line would spoil the next one
            raise

    def _flush(self, stream: FileIO, end: int) -> None:
        """Return when the first `end` bytes are on the disk; one flush serves all who wait.

        What is lost here would be paid again.
        """
        with self._flushing:
            if self._flushed >= end:
                return
            with self._lock:
                written = self._end
            os.fsync(stream.fileno())
            self._flushed = written

    def _read(self, path: Path) -> None:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break
                self._index(path, number, line)
        if path.stat().st_size > self._end:
            with storage_errors(path), path.open("r+b") as stream:
                stream.truncate(self._end)
                os.fsync(stream.fileno())

    def _index(self, path: Path, number: int, line: bytes) -> None:
        try:
            entry = json.loads(line)
            name, answered = entry["request_digest"], entry["answered"]
            known = json_digest(entry["request"]) == name
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise CaseError(
                f"{path}, line {number}: not the record of a request",
                hint="restore the file, or give a new --out",
            )
        if answered:
            self._places[name] = (self._end, len(line))
        self._attempts[name] = self._attempts.get(name, 0) + 1
        self._end += len(line)


def body_json(body: bytes) -> dict[str, str]:
    """Return the bytes of a reply as JSON values."""
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def kept_headers(headers: Mapping[str, str], spelled: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of a reply that are recorded, by name.

    Args:
        headers: of the reply.
        spelled: `auditor.spellings.spellings` of the key, which is taken out where they echo it.
    """
    found = {name.lower(): value for name, value in headers.items()}
    return {
        name: replaced(value.encode(), spelled).decode()
        for name, value in sorted(found.items())
        if name in KEPT_HEADERS or name.startswith(KEPT_PREFIX)
    }
