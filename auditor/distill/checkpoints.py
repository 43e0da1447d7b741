"""Checkpoints that are known to be whole.

`transformers.Trainer` writes a checkpoint's files one after another, so a killed run may leave half
of one. A checkpoint counts only with a manifest, written atomically after all its files, and only
while every file still has the digest recorded there.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from auditor.canon import directory_digests, pretty_json
from auditor.case import atomic_write

MANIFEST = "manifest.json"
_PREFIX = "checkpoint-"


def seal_checkpoint(folder: Path, step: int) -> None:
    """Write the manifest that declares a checkpoint complete."""
    digests = directory_digests(folder)
    digests.pop(MANIFEST, None)
    atomic_write(folder / MANIFEST, pretty_json({"files": digests, "step": step}))


def newest_complete(folder: Path) -> tuple[Path, int] | None:
    """Return the complete checkpoint with the most steps, and that number; None without one."""
    found = ((path, _complete_step(path)) for path in _checkpoints(folder))
    complete = [(path, step) for path, step in found if step is not None]
    return max(complete, key=lambda item: item[1], default=None)


def discard_others(folder: Path, kept: Path | None) -> None:
    """Remove every checkpoint but one: what is left of a killed write, or was overtaken."""
    for path in _checkpoints(folder):
        if path != kept:
            shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(_PREFIX + "*") if path.is_dir())


def _complete_step(folder: Path) -> int | None:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        wanted: dict[str, str] = manifest["files"]
        whole = directory_digests(folder, wanted) == wanted
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return int(manifest["step"]) if whole else None
