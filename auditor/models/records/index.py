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
    asked TEXT, nth INTEGER, place TEXT NOT NULL, line TEXT NOT NULL, UNIQUE (key, repeat));
CREATE INDEX by_asked ON replies (asked, nth);
CREATE TABLE failures (key TEXT NOT NULL, reason TEXT NOT NULL);
"""
_INSERT = (
    "INSERT INTO replies (key, repeat, asked, nth, place, line) VALUES (?, ?, ?, "
    "(SELECT coalesce(max(nth) + 1, 0) FROM replies WHERE asked = ?), ?, ?)"
)
_NEXT = "SELECT coalesce(max(repeat) + 1, 0) FROM replies WHERE key = ?"
_KNOWN = "SELECT 1 FROM replies WHERE key = ? LIMIT 1"
_ONE = "SELECT line, asked, place FROM replies WHERE key = ? AND repeat = ?"
_NTH = "SELECT line, asked, place FROM replies WHERE asked = ? AND nth = ?"


class ReplyIndex:
    """Replies by probe id, or by the digest of what was asked, and repeat.

    A probe whose id the file does not know is found by what was asked. Where those replies have ids
    of their own, their numbers are those of other probes: they count in the order of the file.
    """

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
        repeat = self._next(key) if reply.repeat is None else reply.repeat
        line = json.dumps({**reply_as_json(reply), "repeat": repeat})
        try:
            self._insert(_INSERT, (key, repeat, asked, asked, reply.where, line))
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

        A reply under its id that was given to another prompt is none to the probe.
        """
        row = self._row(probe, repeat)
        if row is None or not _fits(row[1], probe):
            return None
        return reply_from_json(json.loads(row[0]), row[2])

    def has(self, probe: Probe, repeat: int) -> bool:
        """Whether a reply to this very prompt is recorded."""
        row = self._row(probe, repeat)
        return row is not None and _fits(row[1], probe)

    def failure(self, probe: Probe) -> str | None:
        """Return why a probe lacks a reply, where the file says so or has one to another prompt."""
        row = self._row(probe, 0)
        if row is not None and not _fits(row[1], probe):
            return f"{row[2]}: the reply to {probe.id!r} was given to another prompt"
        for key in (_id_key(probe.id), *asked_by(probe)):
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

    def _row(self, probe: Probe, repeat: int) -> tuple[str, str | None, str] | None:
        """Return (line, digest of what was asked, place) of a reply under a probe's id or words."""
        asked = asked_by(probe)
        ways = [(_ONE, key) for key in (_id_key(probe.id), *asked) if self._knows(key)]
        ways = ways[:1] or [(_NTH, one) for one in asked]
        for statement, key in ways:
            row: tuple[str, str | None, str] | None = self._base.execute(
                statement, (key, repeat)
            ).fetchone()
            if row is not None:
                return row
        return None

    def _knows(self, key: str) -> bool:
        return self._base.execute(_KNOWN, (key,)).fetchone() is not None

    def _next(self, key: str) -> int:
        return int(self._base.execute(_NEXT, (key,)).fetchone()[0])

    def _duplicate(self, reply: RecordedReply, key: str, repeat: int) -> RecordsError:
        row = self._base.execute(_ONE, (key, repeat)).fetchone()
        return RecordsError(
            f"{reply.where}: 2 replies for {reply.name}, repeat {repeat}; the first is in "
            f"{row[2].rpartition(', ')[2]}",
            hint='number the replies to one probe: "repeat": 0, 1, 2, ...',
        )


def _key(probe_id: str | None, asked: str | None) -> str:
    return _id_key(probe_id) if probe_id is not None else str(asked)


def _id_key(probe_id: str) -> str:
    return f"id {probe_id}"


def _fits(recorded: str | None, probe: Probe) -> bool:
    """Whether a reply to what has this digest may be one to a probe; None: only an id is known."""
    return recorded is None or recorded in asked_by(probe)
