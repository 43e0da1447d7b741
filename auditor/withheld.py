"""What a redacted case does not show: single record lines, and files that would tell of them.

A withheld line stands in its file as ``{"withheld":"<leaf hash>"}``: the hash that the line had in
the chain and in the Merkle tree, so that every other line is proved as before. Which lines these
are is in ``withheld`` of data/evidence.json; what else is left out, and why, in
data/redaction.json. A case that was not redacted has neither.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from auditor.case import Case
from auditor.errors import CaseError

INDEX = "evidence.json"
REDACTION = "redaction.json"
PARENT = "parent"
"""Folder of ``data/`` with the index, the payload manifest and the signatures of the original."""
_PLACEHOLDER = re.compile(rb'\{"withheld":"([0-9a-f]{64})"\}')


class Withheld(str):
    """A reply that is not shown; nothing may be computed from it."""

    __slots__ = ()

    def __new__(cls) -> "Withheld":
        """Return the word that stands in the place of the reply."""
        return super().__new__(cls, "withheld")


def placeholder(leaf: str) -> bytes:
    """Return the line, without newline, that stands for a line of this leaf hash."""
    return b'{"withheld":"%b"}' % leaf.encode()


def leaf_in(line: bytes) -> str | None:
    """Return the leaf hash that a placeholder (without newline) names; None for another line."""
    match = _PLACEHOLDER.fullmatch(line)
    return None if match is None else match[1].decode()


def withheld_lines(case: Case) -> Mapping[str, Mapping[int, str]]:
    """Return {file below data/: {index of the line: leaf hash}} of a redacted case; else empty.

    Raises:
        CaseError: the index is malformed.
    """
    index = _json(case.data / INDEX)
    if index.get("parent") is None:
        return {}
    try:
        return {
            name: {int(number): str(leaf) for number, leaf in lines.items()}
            for name, lines in index["withheld"].items()
        }
    except (AttributeError, KeyError, ValueError) as error:
        raise CaseError(f"{case.data / INDEX}: `withheld` is malformed: {error!r}") from error


def withheld_record(
    row: Mapping[str, Any], subject: str, suite: str, asked: tuple[str, int]
) -> dict[str, Any]:
    """Return what is known of a withheld record: its place, by the plan.

    Args:
        row: with ``seq`` and the leaf hash ``withheld``.
        subject: who replied.
        suite: to a probe of which suite, ``name@version``.
        asked: id of the probe, and repeat.
    """
    place = {"subject": subject, "suite": suite, "probe_id": asked[0], "repeat": asked[1]}
    return {**row, **place, "outcome": "withheld", "text": Withheld()}


def withheld_failures(case: Case, subject: str) -> frozenset[tuple[str, str, int]]:
    """Return (suite, probe, repeat) of the withheld records of a subject that hold no reply.

    Raises:
        CaseError: errors.jsonl cannot be read.
    """
    if not withheld_lines(case):
        return frozenset()
    try:
        lines = (case.data / "errors.jsonl").read_bytes().splitlines()
        rows = [row for row in map(json.loads, lines) if row.get("withheld")]
        return frozenset(
            (row["suite"], row["probe_id"], row["repeat"])
            for row in rows
            if row["subject"] == subject
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CaseError(f"errors.jsonl cannot be read: {error!r}") from error


def redaction(case: Case) -> dict[str, Any] | None:
    """Return the content of redaction.json; None where the case was not redacted.

    Raises:
        CaseError: it is no JSON object.
    """
    path = case.data / REDACTION
    return _json(path) if path.is_file() else None


def withheld_names(case: Case) -> frozenset[str]:
    """Return the files below data/ that are withheld whole, or of which lines are."""
    found = redaction(case)
    return frozenset({*(found["files"] if found else ()), *withheld_lines(case)})


def rests_on(
    row: Mapping[str, Any], suspect: str, controls: Iterable[str], names: Iterable[str]
) -> bool:
    """Say whether a statistic was computed from something that is withheld.

    Args:
        row: of statistics.json; its inputs are files, or folders of files.
        suspect: whose statistic it is.
        controls: whose values stand beside it: computed from their files of the same kinds.
        names: of the withheld files, below data/.
    """
    inputs = {*row["inputs"]}
    inputs |= {
        _of_another(name, suspect, control) for name in row["inputs"] for control in controls
    }
    return any(name in inputs or name.rpartition("/")[0] in inputs for name in names)


def _is_defined(row: Mapping[str, Any]) -> bool:
    return any(value is not None for value in (row["value"], *row["control_values"]))


def _of_another(name: str, suspect: str, control: str) -> str:
    folder, _, last = name.rpartition("/")
    if last == suspect:
        return f"{folder}/{control}"
    return f"{folder}/{control}.npy" if last == f"{suspect}.npy" else name


def rows_resting_on(
    statistics: Mapping[str, Any], controls: Sequence[str], names: Iterable[str]
) -> list[str]:
    """Return the ids of all statistics that rest on withheld files; see `rests_on`."""
    withheld = frozenset(names)
    return [
        row["id"]
        for suspect, rows in statistics["suspects"].items()
        for row in rows
        if _is_defined(row) and rests_on(row, suspect, controls, withheld)
    ]


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    state = path.stat()
    return _parsed(path, state.st_ino, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _parsed(path: Path, _inode: int, _changed: int, _size: int) -> dict[str, Any]:
    """Return a JSON object in a certain state of its file; a case reads it many times."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise CaseError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise CaseError(f"{path} holds no JSON object")
    return found
