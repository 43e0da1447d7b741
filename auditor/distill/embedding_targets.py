"""The teacher's embeddings, computed once and kept: RUN/embeddings.jsonl.

A line holds a group of different texts, by digest, and their vectors, and is bound to the line
before. Groups have fixed members, because rounding depends on what shares a batch: after a kill
the unfinished group is embedded again, and the file ends up the same byte for byte.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import canonical_json, digest, leaf_hash
from auditor.case import atomic_write, storage_errors
from auditor.errors import CaseError, UndefinedError
from auditor.merkle import merkle_root
from auditor.progress import Progress
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.models.encoder import Encoder

GROUP = 64
"""Texts embedded together."""


class TeacherVectors:
    """The file of embeddings of some texts; equal texts have one."""

    def __init__(self, path: Path, texts: Iterable[str]) -> None:
        self._path = path
        # By digest, in the order of first appearance.
        self._texts = {digest(text.encode()): text for text in texts}
        keys = list(self._texts)
        self._groups = [keys[start : start + GROUP] for start in range(0, len(keys), GROUP)]

    @property
    def count(self) -> int:
        """Different texts."""
        return len(self._texts)

    @property
    def is_complete(self) -> bool:
        """Whether every text is embedded."""
        return len(whole_lines(self._path)) == len(self._groups)

    def draw(self, teacher: "Encoder", progress: Progress) -> None:
        """Add the embeddings that are missing.

        Raises:
            UndefinedError: the teacher gives a text a vector with NaN or infinity.
            StorageError: the disk is full; whole groups are kept.
        """
        lines = whole_lines(self._path)
        atomic_write(self._path, b"".join(line + b"\n" for line in lines))
        prev = leaf_hash(lines[-1]) if lines else ""
        with progress.task("teacher embeds texts", self.count) as task:
            task.advance(sum(len(group) for group in self._groups[: len(lines)]))
            for seq in range(len(lines), len(self._groups)):
                group = self._groups[seq]
                rows = teacher.vectors([self._texts[key] for key in group])
                _check_finite(rows, group)
                line = canonical_json(_body(group, rows, seq=seq, prev=prev))
                prev = leaf_hash(line)
                with storage_errors(self._path), self._path.open("ab") as stream:
                    stream.write(line + b"\n")
                task.advance(len(group))

    def read(self) -> dict[str, Array]:
        """Return {digest of a text: (E,) float32} of the whole groups.

        Raises:
            CaseError: a line was changed, or is about other texts.
        """
        found: dict[str, Array] = {}
        prev = ""
        for seq, line in enumerate(whole_lines(self._path)):
            row = _parsed(line)
            expected = self._groups[seq] if seq < len(self._groups) else None
            if (row.get("seq"), row.get("prev"), row.get("texts")) != (seq, prev, expected):
                raise CaseError(
                    f"{self._path}, line {seq + 1}: not the line that was written here",
                    hint="give a new --out; recorded embeddings are never edited",
                )
            prev = leaf_hash(line)
            found.update(zip(row["texts"], vectors_of(row), strict=True))
        return found


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines of a file that end; none where there is no file."""
    return path.read_bytes().split(b"\n")[:-1] if path.is_file() else []


def vectors_of(row: dict[str, Any]) -> Array:
    """Return (n, E) float32 of a parsed line."""
    content = base64.b64decode(row["vectors"], validate=True)
    return np.frombuffer(content, dtype="<f4").reshape(len(row["texts"]), -1)


def embedding_groups(path: Path) -> list[dict[str, Any]]:
    """Return ``{"first", "texts", "root"}`` of each line: what the ledger keeps of the teacher.

    The root is over a leaf for each text: its digest, a line break, its vector as little-endian
    float32. So one embedding can be shown to be the teacher's without the others.
    """
    return list(_groups(whole_lines(path)))


def _groups(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    first = 0
    for line in lines:
        row = json.loads(line)
        pairs = zip(row["texts"], vectors_of(row), strict=True)
        leaves = [leaf_hash(key.encode() + b"\n" + vector.tobytes()) for key, vector in pairs]
        yield {"first": first, "texts": len(leaves), "root": merkle_root(leaves)}
        first += len(leaves)


def _body(group: Sequence[str], rows: Array, *, seq: int, prev: str) -> dict[str, Any]:
    content = np.ascontiguousarray(rows, dtype="<f4").tobytes()
    return {
        "seq": seq,
        "prev": prev,
        "texts": list(group),
        "vectors": base64.b64encode(content).decode(),
    }


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _check_finite(rows: Array, group: Sequence[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise UndefinedError(
            f"the teacher gives the text {group[int(bad[0])]} a vector that is not finite",
            hint="leave the text out, or use another teacher",
        )
