"""The BagIt 1.0 tag files of a sealed case (RFC 8493): manifests that ``sha256sum -c`` reads."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import auditor
from auditor.bundle.evidence import FILE
from auditor.case import atomic_write

DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
TAG_FILES = ("bagit.txt", "bag-info.txt", MANIFEST, TAG_MANIFEST)
"""All files of a sealed case outside of ``data/`` and ``signatures/``."""


def is_bag(root: Path) -> bool:
    """Whether a folder is a bag, sealed by us or another tool's."""
    return (root / "bagit.txt").exists()


def write_tags(root: Path, evidence: Mapping[str, Any]) -> None:
    """Write the four tag files over a complete ``data/``, the manifests last.

    Args:
        root: of the bag.
        evidence: the content of data/evidence.json, which is there.

    Raises:
        StorageError: the disk is full.
    """
    index = (root / "data" / FILE).read_bytes()
    digests = {name: entry["sha256"] for name, entry in evidence["files"].items()}
    digests[FILE] = hashlib.sha256(index).hexdigest()
    octets = len(index) + sum(entry["bytes"] for entry in evidence["files"].values())
    atomic_write(root / "bagit.txt", DECLARATION)
    atomic_write(root / "bag-info.txt", _info(evidence, octets, len(digests)))
    atomic_write(root / MANIFEST, _lines({f"data/{name}": digests[name] for name in digests}))
    tags = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in TAG_FILES[:3]}
    atomic_write(root / TAG_MANIFEST, _lines(tags))


def _info(evidence: Mapping[str, Any], octets: int, files: int) -> bytes:
    fields = {
        "Bag-Software-Agent": f"auditor {auditor.__version__}",
        "Bagging-Date": evidence["sealed"][:10],
        "External-Identifier": evidence["case_id"],
        "Payload-Oxum": f"{octets}.{files}",
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items()).encode()


def _lines(digests: Mapping[str, str]) -> bytes:
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


def manifest_digest(root: Path) -> str:
    """Return the SHA-256 of the payload manifest, 64 hex digits: what an opinion speaks about."""
    return hashlib.sha256((root / MANIFEST).read_bytes()).hexdigest()
