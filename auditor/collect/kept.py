"""What is kept of the reference's weights in ``work/`` until every suspect was compared with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from auditor.canon import pretty_json
from auditor.case import Case, atomic_write, storage_errors
from auditor.errors import UndefinedError
from auditor.types import Array


class Kept:
    """Arrays of one subject by name, and a note for each statistic that is written last."""

    def __init__(self, case: Case, subject: str) -> None:
        self._folder = case.work / "weights" / subject

    def write(self, name: str, **arrays: Array) -> None:
        """Keep some arrays together, without loss."""
        path = self._path(name)
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]

    def read(self, name: str) -> dict[str, Array]:
        """Return the arrays that were kept under a name."""
        with np.load(self._path(name), allow_pickle=False) as arrays:
            return dict(arrays)

    def write_note(self, statistic: str, **fields: Any) -> None:
        """Say that all of a statistic is kept, and what about it; or why it has none."""
        atomic_write(self._folder / f"{statistic}.json", pretty_json(fields))

    def has_note(self, statistic: str) -> bool:
        """Whether a statistic is done with, one way or the other."""
        return (self._folder / f"{statistic}.json").is_file()

    def note(self, statistic: str) -> dict[str, Any]:
        """Return the note of a statistic.

        Raises:
            UndefinedError: the reference has no such statistic; the reason is its own.
        """
        if not self.has_note(statistic):
            raise UndefinedError("of the reference: its weights were not examined")
        note: dict[str, Any] = json.loads((self._folder / f"{statistic}.json").read_bytes())
        if "missing" in note:
            raise UndefinedError(f"of the reference: {note['missing']}")
        return note

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npz"
