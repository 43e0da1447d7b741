"""RUN/ledger.jsonl, the provenance of a run: a record a line, each bound to the one before.

A line is canonical JSON: ``seq`` from 0, ``prev`` (leaf hash of the line before, empty in the
first), ``kind`` and ``body``. Nothing in it depends on the clock or on the folder's place, so a run
that is killed and continued ends with the same bytes as one that is not.

kinds: environment, permission, teacher, data, marks, generation, embedding, filter, cache_shard,
train_config, batch, checkpoint, student
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.canon import canonical_json, leaf_hash
from auditor.case import atomic_write, storage_errors
from auditor.errors import CaseError
from auditor.merkle import merkle_root

KINDS = (
    "environment",
    "permission",
    "teacher",
    "data",
    "marks",
    "generation",
    "embedding",
    "filter",
    "cache_shard",
    "train_config",
    "batch",
    "checkpoint",
    "student",
)
SEGMENT = 1024
"""Records under one Merkle root."""
_KEYS = {"seq", "prev", "kind", "body"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A line of the ledger."""

    seq: int
    prev: str
    kind: str
    body: dict[str, Any]
    hash: str
    """Leaf hash of the line, as hex."""


class Ledger:
    """The ledger of a run, opened to be continued. One process writes it: the first rank."""

    def __init__(self, path: Path) -> None:
        """Open the ledger at `path`, which may not exist yet; a torn last line is cut off.

        Raises:
            CaseError: a whole line was changed, dropped, added or moved.
            StorageError: the disk refused the cut.
        """
        self._path = path
        content = path.read_bytes() if path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        self._records, problem = parse(whole)
        if problem is not None:
            raise CaseError(f"{path}, {problem}", hint="give a new --out; a ledger is never edited")
        if len(whole) < len(content):
            atomic_write(path, whole)

    @property
    def records(self) -> Sequence[Record]:
        """All records, in order."""
        return tuple(self._records)

    @property
    def head(self) -> str:
        """Hash of the last line; empty before the first."""
        return self._records[-1].hash if self._records else ""

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of the records of a kind, in order."""
        return [record.body for record in self._records if record.kind == kind]

    def append(self, kind: str, body: dict[str, Any]) -> None:
        """Add a record.

        Raises:
            ValueError: an unknown kind, or a body that canonical JSON cannot hold.
            StorageError: the disk is full.
        """
        if kind not in KINDS:
            raise ValueError(f"the ledger has no kind {kind!r}; it has: {', '.join(KINDS)}")
        seq, prev = len(self._records), self.head
        line = canonical_json({"seq": seq, "prev": prev, "kind": kind, "body": body})
        with storage_errors(self._path), self._path.open("ab") as stream:
            stream.write(line + b"\n")
        # Read back, so that a body compares the same before and after a restart.
        self._records.append(_record(json.loads(line), leaf_hash(line)))

    def complete(self, kind: str, bodies: Iterable[dict[str, Any]]) -> None:
        """Add those of the records of a kind that a killed run had not written yet.

        Raises:
            CaseError: what stands there already is something else.
            StorageError: the disk is full.
        """
        there = self.bodies(kind)
        wanted = [json.loads(canonical_json(body)) for body in bodies]
        if there != wanted[: len(there)]:
            raise CaseError(
                f"{self._path}: its records of kind {kind} are not those of this run",
                hint="give a new --out, or restore what the run was started with",
            )
        for body in wanted[len(there) :]:
            self.append(kind, body)

    def note(self, kind: str, body: dict[str, Any]) -> None:
        """Add a record unless the last one of its kind says the same.

        A run may be continued with other packages: then both are on record.

        Raises:
            StorageError: the disk is full.
        """
        there = self.bodies(kind)
        if not there or there[-1] != json.loads(canonical_json(body)):
            self.append(kind, body)

    def keep_until(self, step: int, head: str | None) -> None:
        """Cut the training back to a checkpoint: what came after it is done again.

        Args:
            step: of the checkpoint; negative to start the training anew.
            head: hash of the line that the checkpoint was bound to; None without a checkpoint.

        Raises:
            CaseError: the ledger does not hold that line there: it is not this checkpoint's.
            StorageError: the disk refused the cut.
        """
        kept = self._records[: self._end_of(step)]
        if head is not None and (not kept or kept[-1].hash != head):
            raise CaseError(
                f"{self._path} does not end in the line that the checkpoint of step {step} is "
                "bound to",
                hint="give a new --out; a ledger and its checkpoints are never edited",
            )
        if len(kept) < len(self._records):
            lines = self._path.read_bytes().split(b"\n")[: len(kept)]
            atomic_write(self._path, b"".join(line + b"\n" for line in lines))
            self._records = kept

    def _end_of(self, step: int) -> int:
        """Return how many records end with the batch of `step`, or come before any batch."""
        for record in self._records:
            if record.kind == "batch" and (step < 1 or record.body["step"] == step):
                return record.seq + (step >= 1)
        return len(self._records)

    def sync(self) -> None:
        """Return when everything is on the disk, even if the power fails.

        Raises:
            StorageError: the disk is full.
        """
        with storage_errors(self._path), self._path.open("ab") as stream:
            os.fsync(stream.fileno())


def parse(content: bytes) -> tuple[list[Record], str | None]:
    """Return the records up to the first line that does not belong, and what is wrong with it.

    A content whose last line has no end is wrong there. None: every line follows the one before.
    """
    *lines, rest = content.split(b"\n")
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        value = _value(line)
        if value is None:
            return records, f"line {number}: not a record in canonical JSON"
        if value["seq"] != number - 1:
            return records, f"line {number}: its seq is {value['seq']}, not {number - 1}"
        prev = records[-1].hash if records else ""
        if value["prev"] != prev:
            return records, f"line {number}: it does not follow line {number - 1} as that is now"
        records.append(_record(value, leaf_hash(line)))
    if rest:
        return records, f"line {len(lines) + 1}: cut off"
    return records, None


def segment_roots(records: Sequence[Record]) -> list[str]:
    """Return the Merkle root of each run of `SEGMENT` records; the last one may be shorter."""
    hashes = [record.hash for record in records]
    return [merkle_root(hashes[i : i + SEGMENT]) for i in range(0, len(hashes), SEGMENT)]


def _value(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
        same = canonical_json(value) == line
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or set(value) != _KEYS or not same:
        return None
    known = value["kind"] in KINDS and isinstance(value["body"], dict)
    return value if known else None


def _record(value: dict[str, Any], found: str) -> Record:
    return Record(
        seq=value["seq"], prev=value["prev"], kind=value["kind"], body=value["body"], hash=found
    )
