"""One pass over each file of a sealed case: digest, length, and for chained files the tree."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from auditor.bundle.evidence import CHAINED, role
from auditor.canon import leaf_hash
from auditor.merkle import merkle_root
from auditor.withheld import leaf_in

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What was read of a file."""

    sha256: str
    """64 hex digits."""
    size: int
    """Bytes."""
    lines: int | None = None
    """Of a chained file; None for another."""
    merkle_root: str | None = None
    last: str | None = None
    """Leaf hash of the last line."""
    fault: str | None = None
    """Where the chain breaks."""
    withheld: dict[int, str] = field(default_factory=dict)
    """Index -> leaf hash of the lines that are not shown."""


def scan(root: Path, names: Iterable[str]) -> dict[str, Scanned]:
    """Return what is in the files below the root of a sealed case."""
    return {name: _scan(root / name, name) for name in names}


def _scan(path: Path, name: str) -> Scanned:
    inside = name.removeprefix("data/")
    if inside != name and role(inside) in CHAINED and name.endswith(".jsonl"):
        return _chain(path)
    hasher, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
            size += len(chunk)
    return Scanned(sha256=hasher.hexdigest(), size=size)


def _chain(path: Path) -> Scanned:
    hasher, size, fault = hashlib.sha256(), 0, None
    leaves: list[str] = []
    withheld: dict[int, str] = {}
    with path.open("rb", buffering=_CHUNK_BYTES) as stream:
        for line in stream:
            hasher.update(line)
            size += len(line)
            previous = leaves[-1] if leaves else ""
            leaf = leaf_in(line.removesuffix(b"\n"))
            if leaf is not None:
                withheld[len(leaves)] = leaf
                leaves.append(leaf)
                continue
            if fault is None and not _continues(line, len(leaves), previous):
                fault = f"line {len(leaves) + 1} does not continue the chain"
            leaves.append(leaf_hash(line.removesuffix(b"\n")))
    return Scanned(
        sha256=hasher.hexdigest(),
        size=size,
        lines=len(leaves),
        merkle_root=merkle_root(leaves),
        last=leaves[-1] if leaves else "",
        fault=fault,
        withheld=withheld,
    )


def _continues(line: bytes, number: int, previous: str) -> bool:
    # Canonical JSON has one spelling, and a quote inside of a text is escaped: no text of a model
    # can look like these. Completeness (V08) parses every record besides.
    return (
        line.endswith(b"\n")
        and b'"prev":"%b"' % previous.encode() in line
        and (b'"seq":%d,' % number in line or b'"seq":%d}' % number in line)
    )
