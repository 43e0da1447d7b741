"""The replies of a file, found by what was asked: kept on disk, so that memory does not grow."""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from auditor.errors import RecordsError, StorageError
from auditor.models.records.reply import RecordedReply, asked_by, reply_as_json, reply_from_json
from auditor.types import Probe

_TABLES = """
CREATE TABLE replies (n INTEGER PRIMARY KEY, key TEXT NOT NULL, repeat INTEGER NOT NULL,
    asked TEXT, place TEXT NOT NULL, line TEXT NOT NULL, UNIQUE (key, repeat));
CREATE TABLE failures (key TEXT NOT NULL, reason TEXT NOT NULL);
"""
_INSERT = "INSERT INTO replies (key, repeat, asked, place, line) VALUES (?, ?, ?, ?, ?)"
_ONE = "SELECT line, asked, place FROM replies WHERE key = ? AND repeat = ?"


class ReplyIndex:
    """Replies by probe id, or by the digest of what was asked, and repeat."""

    def __init__(self) -> None:
        # An empty name is a private file that SQLite deletes when it is closed.
        self._base = sqlite3.connect("", check_same_thread=False)
        self._base.executescript(_TABLES)
        self._base.execute("PRAGMA journal_mode = OFF")

    def add(self, reply: RecordedReply) -> None:
        """Keep a reply; one without a number becomes the next repeat of what was asked.

        Raises:
            RecordsError: there is one of that number.
            StorageError: the disk is full.
        """
        asked = reply.asked
        key = _key(reply.probe_id, asked)
        repeat = self._count(key) if reply.repeat is None else reply.repeat
        line = json.dumps({**reply_as_json(reply), "repeat": repeat})
        try:
            self._insert(_INSERT, (key, repeat, asked, reply.where, line))
        except sqlite3.IntegrityError as error:
            raise self._duplicate(reply, key, repeat) from error

    def fail(self, reply: RecordedReply) -> None:
        """Keep the reason why there is no reply."""
        # Text of another tool: half of a surrogate pair must not stop the reading.
        reason = (reply.error or "").encode(errors="replace").decode()
        key = _key(reply.probe_id, reply.asked)
        self._insert("INSERT INTO failures VALUES (?, ?)", (key, reason))

    def find(self, probe: Probe, repeat: int) -> RecordedReply | None:
        """Return a reply to a probe: by its id, else by what it asks; None where there is none.

        Raises:
            RecordsError: the reply under its id was given to another prompt.
        """
        asked = asked_by(probe)
        for key in (f"id {probe.id}", *asked):
            row = self._base.execute(_ONE, (key, repeat)).fetchone()
            if row is None:
                continue
            line, recorded, place = row
            if recorded is not None and recorded not in asked:
                raise RecordsError(
                    f"{place}: the reply to {probe.id!r} was given to another prompt",
                    hint="ask the probe as the suite has it, or make a suite of what was asked: "
                    "auditor probes import FILE --out DIR",
                )
            return reply_from_json(json.loads(line), place)
        return None

    def has(self, probe: Probe, repeat: int) -> bool:
        """Whether a reply is recorded."""
        keys = (f"id {probe.id}", *asked_by(probe))
        return any(self._base.execute(_ONE, (key, repeat)).fetchone() for key in keys)

    def failure(self, probe: Probe) -> str | None:
        """Return the recorded reason why a probe lacks a reply, where there is one."""
        for key in (f"id {probe.id}", *asked_by(probe)):
            row = self._base.execute("SELECT reason FROM failures WHERE key = ?", (key,)).fetchone()
            if row is not None:
                return str(row[0])
        return None

    def replies(self) -> Iterator[RecordedReply]:
        """Yield all replies in the order of the file, numbered."""
        rows = self._base.execute("SELECT line, place FROM replies ORDER BY n")
        for line, place in rows:
            yield reply_from_json(json.loads(line), place)

    def repeats(self) -> tuple[int, int, int]:
        """Return how many prompts there are, and the fewest and most replies to one."""
        row = self._base.execute(
            "SELECT count(*), coalesce(min(c), 0), coalesce(max(c), 0) "
            "FROM (SELECT count(*) AS c FROM replies GROUP BY key)"
        ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    def close(self) -> None:
        """Forget the replies."""
        self._base.close()

    def _insert(self, statement: str, values: tuple[Any, ...]) -> None:
        try:
            self._base.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"no space left to index recorded outputs: {error}",
                hint="free some space in the folder of temporary files, or set SQLITE_TMPDIR",
            ) from error

    def _count(self, key: str) -> int:
        row = self._base.execute("SELECT count(*) FROM replies WHERE key = ?", (key,)).fetchone()
        return int(row[0])

    def _duplicate(self, reply: RecordedReply, key: str, repeat: int) -> RecordsError:
        row = self._base.execute(_ONE, (key, repeat)).fetchone()
        return RecordsError(
            f"{reply.where}: 2 replies for {reply.name}, repeat {repeat}; the first is in "
            f"{row[2].rpartition(', ')[2]}",
            hint='number the replies to one probe: "repeat": 0, 1, 2, ...',
        )


def _key(probe_id: str | None, asked: str | None) -> str:
    return f"id {probe_id}" if probe_id is not None else str(asked)
