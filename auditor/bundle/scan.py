"""One pass over each file of a sealed case: digest, length, and for chained files the tree."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from auditor.bundle.evidence import CHAINED, role
from auditor.bundle.replies import Replies, read_replies
from auditor.canon import leaf_hash
from auditor.merkle import merkle_root
from auditor.withheld import leaf_in

if TYPE_CHECKING:
    from concurrent.futures import Executor

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
    replies: Replies | None = None
    """Of a file of record lines that are all plainly right."""


NOTHING: Mapping[str, Scanned] = MappingProxyType({})
"""Where no file was scanned, checks read them all."""


def scan(
    root: Path, sizes: Mapping[str, int], pool: "Executor | None" = None
) -> dict[str, Scanned]:
    """Return what is in the files below the root of a sealed case.

    Args:
        root: of the case.
        sizes: bytes of each file; the largest are read first.
        pool: of processes that read them; None reads them here.
    """
    largest = sorted(sizes, key=lambda name: -sizes[name])
    paths = [root / name for name in largest]
    found = dict(
        zip(largest, (map if pool is None else pool.map)(_scan, paths, largest), strict=True)
    )
    return {name: found[name] for name in sizes}


def _scan(path: Path, name: str) -> Scanned:
    inside = name.removeprefix("data/")
    kind = role(inside) if inside != name and name.endswith(".jsonl") else None
    read = read_replies(path) if kind == "record" else None
    if read is not None:
        leaves = read.leaves
        return Scanned(
            sha256=read.sha256,
            size=read.size,
            lines=len(leaves),
            merkle_root=merkle_root(leaves),
            last=leaves[-1] if leaves else "",
            replies=read.replies,
        )
    if kind in CHAINED:
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
