"""The index of a sealed case: every file of ``data/`` with its role, size and digest.

Chained files have their Merkle root (RFC 9162) besides, so that one line can be shown, or withheld,
and still be proved to stand where it stood.
"""

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import auditor
from auditor.canon import directory_digests, json_digest, leaf_hash, tree_digest
from auditor.case import FORMATS, Case
from auditor.errors import CaseError
from auditor.merkle import merkle_root
from auditor.stored import chained_lines

SCHEMA = FORMATS["evidence.json"]
FILE = "evidence.json"
CHAINED = ("record", "custody")
"""Roles of files whose lines are chained by ``seq`` and ``prev``."""
_CHUNK_BYTES = 1 << 20

# First part of the path, without the ending where it is a file -> role.
_ROLES = {
    "plan": "plan",
    "subjects": "subjects",
    "environment": "environment",
    "probes": "suite",
    "records": "record",
    "arrays": "array",
    "collected": "collected",
    "errors": "errors",
    "exchanges": "exchanges",
    "marks": "marks",
    "calibration": "calibration",
    "statistics": "statistics",
    "conclusion": "conclusion",
    "deviations": "deviations",
    "failed": "failed",
    "prefilter": "prefilter",
    "watch-baseline": "watch",
    "custody": "custody",
    "replay": "replay",
    "redaction": "redaction",
    "parent": "parent",
}
_MEDIA_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".npy": "application/x-npy",
    ".html": "text/html",
    ".md": "text/markdown",
    ".toml": "application/toml",
    ".py": "text/x-python",
    ".tsr": "application/timestamp-reply",
}
_PLAIN_NAMES = ("LICENSE", "NOTICE", "SHA256SUMS")


def role(name: str) -> str:
    """Return what a file of ``data/`` is, by its path there; ``other`` where no stage wrote it."""
    path = PurePosixPath(name)
    if path.suffix == ".tsr":
        return "timestamp"
    first = path.parts[0] if len(path.parts) > 1 else path.stem
    if len(path.parts) == 1 and first.startswith(("report", "result")):
        return first[:6]
    return _ROLES.get(first, "other")


def media_type(name: str) -> str:
    """Return the media type of a file of ``data/``, by its name."""
    path = PurePosixPath(name)
    if path.name in _PLAIN_NAMES or path.suffix == ".txt":
        return "text/plain"
    return _MEDIA_TYPES.get(path.suffix, "application/octet-stream")


def payload_names(data: Path) -> list[str]:
    """Return the paths of all files below `data`, relative to it, sorted by code point.

    Raises:
        CaseError: something there is neither file nor folder, has a name that tools disagree
            about, or is not complete.
    """
    names = []
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise CaseError(f"{path} is a link or a device", hint="put the file itself there")
        if not _portable(name):
            raise CaseError(f"{path} has a name that not every tool reads alike", hint=_RENAME)
        if name.endswith(".part"):
            raise CaseError(f"{path} is not complete", hint="repeat `auditor collect`")
        if path.is_file():
            names.append(name)
    return sorted(names)


_RENAME = "take the file out of the case: an audit writes no such name"


def _portable(name: str) -> bool:
    """Whether BagIt, sha256sum and every file system read a name as it is written."""
    unsafe = any(
        unicodedata.category(letter)[0] == "C" or letter in '\\%:*?"<>|' for letter in name
    )
    return not unsafe and unicodedata.is_normalized("NFC", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The sealed case that a redacted one was derived from."""

    parent: str
    """SHA-256 of its payload manifest, hex."""
    withheld: Mapping[str, Mapping[int, str]]
    """File -> index of a line -> leaf hash."""


def index(data: Path, sealed: str, origin: Origin | None = None) -> dict[str, Any]:
    """Return the content of evidence.json for the files below `data`.

    Args:
        data: of the case, complete but for evidence.json.
        sealed: UTC time of the seal, ISO 8601.
        origin: of a redacted case.

    Raises:
        CaseError: a file is not what the case says it is.
    """
    plan = Case(data.parent).read_json("plan.json")
    withheld = {} if origin is None else origin.withheld
    files = {
        name: _entry(data, name, withheld.get(name)) for name in payload_names(data) if name != FILE
    }
    return {
        "schema": SCHEMA,
        "case_id": json_digest(plan),
        "sealed": sealed,
        "tool": {
            "name": "auditor",
            "version": auditor.__version__,
            "source_digest": source_digest(),
        },
        "files": files,
        "parent": None if origin is None else origin.parent,
        "withheld": {
            name: {str(number): leaf for number, leaf in lines.items()}
            for name, lines in withheld.items()
        },
    }


def _entry(data: Path, name: str, withheld: Mapping[int, str] | None) -> dict[str, Any]:
    path, kind = data / name, role(name)
    digest, size = _hashed(path)
    entry = {"role": kind, "media_type": media_type(name), "sha256": digest, "bytes": size}
    return {**entry, **_tree(path, withheld)} if kind in CHAINED else entry


def _hashed(path: Path) -> tuple[str, int]:
    hasher, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
            size += len(chunk)
    return hasher.hexdigest(), size


def _tree(path: Path, withheld: Mapping[int, str] | None) -> dict[str, Any]:
    """Return the number of lines of a chained file, their Merkle root and the last leaf hash."""
    hidden = withheld or {}
    lines = chained_lines(path, hidden)
    leaves = [hidden.get(number) or leaf_hash(line) for number, (line, _) in enumerate(lines)]
    last = leaves[-1] if leaves else ""
    return {"lines": len(leaves), "merkle_root": merkle_root(leaves), "last": last}


def changed_since(
    collected: Mapping[str, str], files: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return the names whose digest is not the collected one, or that are missing."""
    return sorted(
        name
        for name, digest in collected.items()
        if name not in files or f"sha256:{files[name]['sha256']}" != digest
    )


def source_digest() -> str:
    """Return the digest of this package's own sources, names included."""
    package = Path(auditor.__file__).resolve().parent
    names = [path.relative_to(package).as_posix() for path in package.rglob("*.py")]
    return tree_digest(directory_digests(package, names))
