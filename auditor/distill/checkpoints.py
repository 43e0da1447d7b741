"""Checkpoints that are known to be whole.

`transformers.Trainer` writes a checkpoint's files one after another, so a killed run may leave half
of one. A checkpoint counts only with a manifest, written atomically after all its files, and only
while every file still has the digest recorded there.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from auditor.canon import directory_digests, pretty_json, tree_digest
from auditor.case import atomic_write
from auditor.errors import CaseError

MANIFEST = "manifest.json"
_PREFIX = "checkpoint-"


def seal_checkpoint(folder: Path, step: int, ledger: str | None = None) -> None:
    """Write the manifest that declares a checkpoint complete.

    Args:
        folder: of the checkpoint.
        step: after which it was written.
        ledger: hash of the ledger's last line at that moment; a resumed run goes on from there.
    """
    digests = directory_digests(folder)
    digests.pop(MANIFEST, None)
    manifest = {"files": digests, "ledger": ledger, "step": step}
    atomic_write(folder / MANIFEST, pretty_json(manifest))


def bound_head(folder: Path) -> str:
    """Return the hash of the ledger's line that a complete checkpoint is bound to.

    Raises:
        CaseError: it is bound to none.
    """
    head = json.loads((folder / MANIFEST).read_bytes()).get("ledger")
    if not isinstance(head, str):
        raise CaseError(
            f"{folder} is bound to no ledger: the run was begun without one",
            hint="give a new --out",
        )
    return head


def checkpoint_body(folder: Path) -> dict[str, Any]:
    """Return what the ledger records of a complete checkpoint: its step and its weights.

    Its other files hold names of folders and orders of memory, which differ from run to run.
    """
    manifest = json.loads((folder / MANIFEST).read_bytes())
    weights = {n: d for n, d in manifest["files"].items() if n.endswith(".safetensors")}
    return {"step": manifest["step"], "weights": tree_digest(weights)}


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
