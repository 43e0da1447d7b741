"""What happened to a case, and when: no other file collects times; a sealed report repeats them."""

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

        Raises:
            CaseError: the chain is broken.
        """
        self._lock = Lock()
        self._lines = RecordWriter(case.data / "custody.jsonl", part=False)
        if self._lines.cut:
            self.log("cut", file="custody.jsonl", bytes=self._lines.cut)

    def log(self, event: str, **details: Any) -> None:
        """Append an event with the time in UTC and its details, which must be JSON values."""
        self.log_all(event, [details])

    def log_all(self, event: str, rows: Iterable[dict[str, Any]]) -> None:
        """Append events of one kind that happened together, one for each of their details."""
        with self._lock:
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._lines.append({"time": time, "event": event, **details} for details in rows)

    def close(self) -> None:
        """Close the log."""
        self._lines.close()
