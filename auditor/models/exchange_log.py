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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auditor.canon import canonical_json, json_digest
from auditor.case import atomic_write, storage_errors
from auditor.errors import CaseError
from auditor.exchanges import body_bytes
from auditor.spellings import without

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

    def reply(self, request: dict[str, Any]) -> bytes | None:
        """Return the body with which a request was answered; None where it was not."""
        wanted = json_digest(request)
        with self._lock:
            if self._path is None:
                return self._kept.get(wanted)
            place = self._places.get(wanted)
            if place is None:
                return None
            with self._path.open("rb") as stream:
                stream.seek(place[0])
                return body_bytes(json.loads(stream.read(place[1])))

    def attempts(self, request: dict[str, Any]) -> int:
        """Return how often a request was sent, in this run and before."""
        with self._lock:
            return self._attempts.get(json_digest(request), 0)

    def append(self, request: dict[str, Any], attempt: dict[str, Any], *, answered: bool) -> None:
        """Add an attempt; with `answered` its body is the reply to the request from now on.

        Raises:
            StorageError: the disk is full; what was added before is intact.
        """
        name = json_digest(request)
        with self._lock:
            self._attempts[name] = number = self._attempts.get(name, 0) + 1
            named = {"request": request, "request_digest": name, "answered": answered}
            entry = {**attempt, **named, "attempt": number}
            if self._path is None:
                if answered:
                    self._kept[name] = body_bytes(entry)
                return
            line = canonical_json(entry) + b"\n"
            with storage_errors(self._path):
                self._add(self._path, line)
            if answered:
                self._places[name] = (self._end, len(line))
            self._end = end = self._end + len(line)
            path = self._path
        with storage_errors(path):
            self._flush(path, end)

    def _add(self, path: Path, line: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as stream:
                stream.write(line)
        except OSError:
            # Half a line would spoil the next one.
            if path.is_file():
                os.truncate(path, self._end)
            raise

    def _flush(self, path: Path, end: int) -> None:
        """Return when the first `end` bytes are on the disk; one flush serves all who wait.

        What is lost here would be paid again.
        """
        with self._flushing:
            if self._flushed >= end:
                return
            with self._lock:
                written = self._end
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            self._flushed = written

    def _read(self, path: Path) -> None:
        raw = path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if whole != raw:
            atomic_write(path, whole)
        for number, line in enumerate(whole.splitlines(keepends=True), start=1):
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


def kept_headers(headers: Mapping[str, str], secret: str | None) -> dict[str, str]:
    """Return the headers of a reply that are recorded; a key that they echo is taken out."""
    found = {
        name.lower(): without(value.encode(), secret).decode() for name, value in headers.items()
    }
    return {
        name: value
        for name, value in sorted(found.items())
        if name in KEPT_HEADERS or name.startswith(KEPT_PREFIX)
    }
