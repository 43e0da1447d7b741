"""Closing a case: a copy that is whole, or is called ``.part``; the draft stays as it was.

The manifests are written after everything that they list, the folder gets its name after
everything in it is on the disk. A seal that was cut off leaves ``CASE.evidence.part``, which is
no sealed case and which the next seal replaces.
"""

import os
import shutil
from collections.abc import Mapping, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auditor.bundle.bag import TAG_FILES, is_bag, write_tags
from auditor.bundle.evidence import FILE, changed_since, index, payload_names
from auditor.bundle.key_like import refuse_key_like
from auditor.bundle.secret_scan import refuse_secrets
from auditor.canon import pretty_json
from auditor.case import Case, atomic_write, storage_errors
from auditor.data import data_dir
from auditor.errors import CaseError
from auditor.failed import standing

_OURS = {"data", *TAG_FILES, *(f"{name}.part" for name in TAG_FILES)}


def default_target(case: Case) -> Path:
    """Return ``CASE.evidence`` beside the case."""
    root = case.root.resolve()
    return root.with_name(root.name + ".evidence")


def part_of(target: Path) -> Path:
    """Return where a sealed case is built until it is whole."""
    return target.with_name(target.name + ".part")


def check_target(case: Case, target: Path) -> None:
    """Refuse to seal a sealed case, or to write over something.

    Raises:
        CaseError: says which.
    """
    if is_bag(case.root):
        raise CaseError(
            f"{case.root} is sealed already, or another tool's bag",
            hint="seal the draft; a sealed case is never changed",
        )
    if target.exists() or target.is_symlink():
        raise CaseError(
            f"{target} exists",
            hint="give another --out; nothing is replaced"
            + ("; `auditor sign` adds a signature to a sealed case" if is_bag(target) else ""),
        )
    if target.resolve().is_relative_to(case.data.resolve()):
        raise CaseError(f"{target} lies in the case itself", hint="give another --out")
    part = part_of(target)
    if part.exists() and (not part.is_dir() or {p.name for p in part.iterdir()} - _OURS):
        raise CaseError(
            f"{part} is in the way and no unfinished seal",
            hint="move it away, or give another --out",
        )


def copy_draft(case: Case, target: Path) -> Case:
    """Return a copy of the draft's ``data/`` in ``<target>.part``, with the shipped replay.py.

    Raises:
        CaseError: the case holds what cannot be sealed.
        StorageError: the disk refused it.
    """
    names = payload_names(case.data)
    if FILE in names:
        raise CaseError(f"{case.data / FILE} is there before the seal", hint="take it out")
    part = part_of(target)
    with storage_errors(part):
        if part.exists():
            shutil.rmtree(part)
        copies = {part / "data" / name: case.data / name for name in names}
        replay = data_dir("reports") / "replay" / "replay.py"
        if replay.is_file():
            copies[part / "data" / replay.name] = replay
        for copy, source in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            # Only the bytes: an owner's permissions and times say nothing about the content.
            shutil.copyfile(source, copy, follow_symlinks=False)
    return Case(part)


def close(
    copy: Case, target: Path, secrets: Mapping[str, list[bytes]], key_like: Set[bytes] = frozenset()
) -> dict[str, Any]:
    """Index, pack and rename a copied case; return the content of its evidence.json.

    Args:
        copy: in ``<target>.part``, with its last custody event and its reports.
        target: what it will be called.
        secrets: that it must not hold.
        key_like: texts like a key that were accepted.

    Raises:
        CaseError: it holds a secret, or a file that is not the collected one.
        StorageError: the disk refused it.
    """
    names = payload_names(copy.data)
    refuse_secrets(copy.data, names, secrets)
    refuse_key_like(copy, names, key_like)
    evidence = index(copy.data, datetime.now(UTC).isoformat(timespec="milliseconds"))
    _check_collected(copy, evidence)
    publish(copy, target, evidence)
    return evidence


def publish(copy: Case, target: Path, evidence: Mapping[str, Any]) -> None:
    """Write the index and the manifests of a case in ``<target>.part``, and give it its name.

    Raises:
        StorageError: the disk refused it.
    """
    atomic_write(copy.data / FILE, pretty_json(evidence))
    write_tags(copy.root, evidence)
    with storage_errors(target):
        _flush(copy.root)
        copy.root.rename(target)
        _flush_folder(target.parent)


def _check_collected(copy: Case, evidence: dict[str, Any]) -> None:
    for subject in standing(copy):
        collected = copy.read_json(f"collected/{subject['name']}.json")["digests"]
        changed = changed_since(collected, evidence["files"])
        if changed:
            raise CaseError(
                f"data/{changed[0]} is not as it was collected", hint="restore it from a copy"
            )


def _flush(root: Path) -> None:
    """Have every file and folder below `root` on the disk."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            _flush_folder(Path(folder, name))
        _flush_folder(Path(folder))


def _flush_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
