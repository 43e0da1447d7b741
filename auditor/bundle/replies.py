"""What a file of record lines says, gathered in one pass for all checks of `auditor verify`.

Only of a file in which every line is right by itself: canonical, of its schema, in the chain, its
request the one of its digest. Of any other file nothing is gathered, and each check reads it with
the slow readers, which name what is wrong.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from msgspec import UNSET

from auditor.bundle.canonical_line import canonical_line
from auditor.bundle.record_line import Line, read_lines, read_request, request_digest
from auditor.bundle.schemas import departures
from auditor.bundle.secret_scan import may_hold_key

_BLOCK_BYTES = 1 << 16
# As in the schema; a test holds these readers against it.
_is_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch
_is_salt = re.compile(r"[0-9a-f]{32,}").fullmatch
_is_digest = re.compile(r"sha256:[0-9a-f]{64}").fullmatch


class Kind(NamedTuple):
    """What the repeats of a probe have in common."""

    probe_id: str
    probe_digest: str
    subject: str
    suite: str
    seed: int
    decoding: tuple[int, bytes, int, bytes]
    """max_new_tokens, temperature, top_k, top_p; what may be a fraction as it is spelled."""

    def decoding_as_json(self) -> dict[str, Any]:
        """Return the decoding as a plan has it."""
        names = ("max_new_tokens", "temperature", "top_k", "top_p")
        numbers = (json.loads(n) if isinstance(n, bytes) else n for n in self.decoding)
        return dict(zip(names, numbers, strict=True))


_Frame: TypeAlias = tuple[str, str, int, tuple[int, bytes, int, bytes]]
"""Subject, suite, seed and decoding."""


class Place(NamedTuple):
    """Which planned reply a line holds, and at which attempt."""

    subject: str
    suite: str
    probe_id: str
    repeat: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """What the lines of one file say."""

    kinds: frozenset[Kind]
    runs: tuple[tuple[str, int], ...]
    """(probe, n) in the order of the lines: n lines of one probe, its repeats 0 to n - 1."""
    outcomes: Mapping[str, int]
    failed: Mapping[Place, str]
    """Why there is no reply."""
    calls: frozenset[str | None]
    """Digests of the calls to a server that gave the replies; None for a reply without."""
    key_like: bool
    """Whether a text may hold what is shaped like a key."""


@dataclass(frozen=True, slots=True)
class ReadReplies:
    """A file that was read to its end."""

    replies: Replies
    sha256: str
    size: int
    leaves: list[str]
    """Leaf hashes of its lines, hex."""


def read_replies(path: Path) -> ReadReplies | None:
    """Return what a file of record lines says; None where a line is not plainly right."""
    gathered, hasher, size = _Gathered(), sha256(), 0
    for block in _blocks(path):
        hasher.update(block)
        size += len(block)
        if not gathered.take_block(block):
            return None
    return ReadReplies(gathered.replies(), hasher.hexdigest(), size, gathered.leaves)


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the content in blocks of whole lines; what follows the last newline is a block too."""
    parts: list[bytes] = []  # a hostile line may be as long as the file: joined once
    with path.open("rb") as stream:
        while chunk := stream.read(_BLOCK_BYTES):
            whole, newline, after = chunk.rpartition(b"\n")
            if newline:
                yield b"".join((*parts, whole, newline))
                parts = [after]
            else:
                parts.append(chunk)
    rest = b"".join(parts)
    if rest:
        yield rest


class _Gathered:
    """What was gathered so far."""

    def __init__(self) -> None:
        self.leaves: list[str] = []
        self._before: Line | None = None
        self._frames: set[_Frame] = set()
        self._kinds: set[Kind] = set()
        self._runs: list[tuple[str, int]] = []
        self._outcomes: Counter[str] = Counter()
        self._failed: dict[Place, str] = {}
        self._calls: set[str | None] = set()
        self._key_like = False

    def replies(self) -> Replies:
        return Replies(
            kinds=frozenset(self._kinds),
            runs=tuple(self._runs),
            outcomes=dict(self._outcomes),
            failed=self._failed,
            calls=frozenset(self._calls),
            key_like=self._key_like,
        )

    def take_block(self, block: bytes) -> bool:
        """Gather from whole lines; False where one of them is not plainly right."""
        rows = read_lines(block)
        if rows is None:
            return False
        lines = block[:-1].split(b"\n")
        texts = [row.text for row in rows]
        fits = (
            self._chained(rows, lines)
            and all(map(_is_salt, [row.salt for row in rows]))
            and self._take_runs(rows, lines, texts)
            and self._take_calls(rows, texts)
        )
        self._key_like = self._key_like or may_hold_key("\n".join(texts).encode())
        return fits

    def _chained(self, rows: list[Line], lines: list[bytes]) -> bool:
        first, last = len(self.leaves), self.leaves[-1] if self.leaves else ""
        self.leaves += [sha256(b"\x00" + line).hexdigest() for line in lines]
        return (
            len(rows) == len(lines)
            and [row.seq for row in rows] == list(range(first, len(self.leaves)))
            and [row.prev for row in rows] == [last, *self.leaves[first:-1]]
        )

    def _take_runs(self, rows: list[Line], lines: list[bytes], texts: list[str]) -> bool:
        """Gather what is asked; one after the other, lines often ask the same again."""
        for row, line in zip(rows, lines, strict=True):
            if self._before is not None and _asks_the_same(row, self._before):
                probe, count = self._runs[-1]
                self._runs[-1] = (probe, count + 1)
                if row.repeat != count:
                    return False
            elif not self._begins(row, line, texts):
                return False
            self._before = row
        return True

    def _begins(self, row: Line, line: bytes, texts: list[str]) -> bool:
        """Take a line that asks something else than the one before it."""
        request = read_request(row)
        if request is None:
            return False
        texts += (row.probe_id, request.prompt)
        drawn = request.decoding
        decoding = (drawn.max_new_tokens, bytes(drawn.temperature), drawn.top_k, bytes(drawn.top_p))
        frame = (row.subject, row.suite, request.seed, decoding)
        if frame not in self._frames:
            # The first of each goes through the whole schema; the others differ in other fields.
            if not _follows(line):
                return False
            self._frames.add(frame)
            self._key_like = self._key_like or may_hold_key(line)
        self._kinds.add(Kind(row.probe_id, row.probe_digest, *frame))
        self._runs.append((row.probe_id, 1))
        return (
            row.repeat == 0
            and _is_name(row.probe_id) is not None
            and _is_digest(row.probe_digest) is not None
            and row.request_digest == request_digest(row)
        )

    def _take_calls(self, rows: list[Line], texts: list[str]) -> bool:
        """Gather outcomes, calls to a server, and why there is no reply."""
        self._outcomes.update([row.outcome for row in rows])
        special = [row for row in rows if row.exchange is not UNSET or row.outcome == "error"]
        if len(special) < len(rows):
            self._calls.add(None)
        for row in special:
            if row.outcome == "error" and row.error is not None:
                place = Place(row.subject, row.suite, row.probe_id, row.repeat, row.attempt)
                self._failed[place] = row.error
                texts.append(row.error)
            if row.exchange is not UNSET:
                if _is_digest(row.exchange.request_digest) is None:
                    return False
                texts += (row.exchange.model or "", row.exchange.fingerprint or "")
            if row.outcome != "error":
                self._calls.add(None if row.exchange is UNSET else row.exchange.request_digest)
        return all((row.outcome == "error") == (row.error is not None) for row in rows)


def _asks_the_same(row: Line, before: Line) -> bool:
    return (
        row.request == before.request
        and row.prompt_ids == before.prompt_ids
        and row.request_digest == before.request_digest
        and row.probe_id == before.probe_id
        and row.probe_digest == before.probe_digest
        and row.subject == before.subject
        and row.suite == before.suite
    )


def _follows(line: bytes) -> bool:
    try:
        return not any(departures(canonical_line(line), "record"))
    except (ValueError, RecursionError):
        return False
