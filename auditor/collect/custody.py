"""What happened to a case, and when: no other file collects times; a sealed report repeats them.

Its lines have no salt, as record lines have: a salt keeps a withheld answer from being guessed by
its hash, and no line of this file holds an answer or is withheld when a case is redacted. Every
line is shown to whoever gets the case; there is nothing left to guess.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from auditor.case import Case
from auditor.collect.store import Closing, RecordWriter


class Custody(Closing):
    """The hash-chained events of ``data/custody.jsonl``, appended one at a time, by any thread."""

    def __init__(self, case: Case) -> None:
        """Open the file; the cut of a torn last line is itself an event.

        Of a first line that is cut, the event follows the next: a log begins with a collection.

        Raises:
            CaseError: the chain is broken.
        """
        self._lock = Lock()
        self._lines = RecordWriter(case.data / "custody.jsonl", part=False)
        self._cut = self._lines.cut
        if self._cut and self._lines.lines:
            self.log_all("cut", self._unlogged_cut())

    def _unlogged_cut(self) -> list[dict[str, Any]]:
        cut, self._cut = self._cut, 0
        return [{"file": "custody.jsonl", "bytes": cut}] if cut else []

    def log(self, event: str, **details: Any) -> None:
        """Append an event with the time in UTC and its details, which must be JSON values."""
        self.log_all(event, [details])

    def log_all(self, event: str, rows: Iterable[dict[str, Any]]) -> None:
        """Append events of one kind that happened together, one for each of their details."""
        with self._lock:
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            lines = [{"time": time, "event": event, **details} for details in rows]
            cuts = self._unlogged_cut() if lines else []
            self._lines.append([*lines, *({"time": time, "event": "cut", **cut} for cut in cuts)])

    def close(self) -> None:
        """Close the log."""
        self._lines.close()
