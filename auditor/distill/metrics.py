"""metrics.jsonl: one line a step, and one for each evaluation on the held-out part."""

import json
from pathlib import Path
from typing import Any

from auditor.canon import canonical_json
from auditor.case import atomic_write, storage_errors


class MetricsLog:
    """An append-only file of rows ``{"step", ...}`` that can be cut back to a checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> list[dict[str, Any]]:
        """Return the whole rows; a line cut off by a crash is left out."""
        if not self._path.is_file():
            return []
        lines = self._path.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def keep_until(self, step: int) -> None:
        """Drop the rows after `step` (all rows if it is negative) and any unfinished line."""
        if not self._path.is_file():
            return
        kept = [row for row in self.rows() if row["step"] <= step]
        atomic_write(self._path, b"".join(canonical_json(row) + b"\n" for row in kept))

    def append(self, row: dict[str, Any]) -> None:
        """Add a row.

        Raises:
            StorageError: the disk is full.
            ValueError: the row holds NaN or an infinity.
        """
        with storage_errors(self._path), self._path.open("ab") as stream:
            stream.write(canonical_json(row) + b"\n")

    def tokens(self) -> int:
        """Return the targets of all steps so far."""
        return max((row["tokens"] for row in self.rows() if "tokens" in row), default=0)

    def holdout(self) -> list[tuple[int, dict[str, float]]]:
        """Return (step, values) of each evaluation, in order."""
        return [(row["step"], row["holdout"]) for row in self.rows() if "holdout" in row]
