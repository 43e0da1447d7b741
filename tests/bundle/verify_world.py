"""Mutations of a sealed case: what somebody who wants to deceive could do to it."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from auditor.bundle.bag import write_tags
from auditor.bundle.evidence import index
from auditor.bundle.keys import load_public_key
from auditor.bundle.verify import verify
from auditor.canon import canonical_json, leaf_hash, pretty_json

Mutation = Callable[[Path], object]


def copied(sealed: Path, target: Path) -> Path:
    """Return a copy of a sealed case that a test may spoil."""
    shutil.copytree(sealed, target, symlinks=True)
    return target


def failed(root: Path, public: Path | None = None) -> set[str]:
    """Return the ids of the checks that a case fails."""
    keys = [] if public is None else [load_public_key(public)]
    return {check.id for check in verify(root, keys).checks if check.outcome == "fail"}


def edit_json(root: Path, name: str, change: Callable[[dict], object]) -> None:
    """Change a JSON file below data/ in place."""
    path = root / "data" / name
    content = json.loads(path.read_bytes())
    change(content)
    path.write_bytes(pretty_json(content))


def resealed(root: Path) -> None:
    """Make the index and all manifests anew, as somebody who covers a change would."""
    old = json.loads((root / "data/evidence.json").read_bytes())
    new = index(root / "data", old["sealed"])
    (root / "data/evidence.json").write_bytes(pretty_json(new))
    write_tags(root, new)


def rechained(rows: list[dict]) -> bytes:
    """Return the lines of a chained file over other rows."""
    lines, previous = [], ""
    for number, row in enumerate(rows):
        line = canonical_json({**row, "seq": number, "prev": previous})
        lines.append(line + b"\n")
        previous = leaf_hash(line)
    return b"".join(lines)


def rows_of(path: Path) -> list[dict]:
    """Return the parsed lines of a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def manifest_again(root: Path) -> None:
    """Make the manifests anew, and leave the index as it was."""
    names = sorted(p for p in (root / "data").rglob("*") if p.is_file())
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(root).as_posix()}\n"
        for p in names
    ]
    (root / "manifest-sha256.txt").write_text("".join(lines), encoding="utf-8")
    tags = ("bag-info.txt", "bagit.txt", "manifest-sha256.txt")
    size = sum(p.stat().st_size for p in names)
    info = (root / "bag-info.txt").read_text().splitlines()[:-1]
    (root / "bag-info.txt").write_text("\n".join([*info, f"Payload-Oxum: {size}.{len(names)}\n"]))
    (root / "tagmanifest-sha256.txt").write_text(
        "".join(f"{hashlib.sha256((root / n).read_bytes()).hexdigest()}  {n}\n" for n in tags)
    )
