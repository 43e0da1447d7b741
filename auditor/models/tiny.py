"""The byte-level models of a few hundred kB that ship with the package."""

from pathlib import Path

from auditor.data import data_dir
from auditor.errors import SubjectError


def tiny_models() -> dict[str, Path]:
    """Return the folders of the shipped tiny models by name, sorted."""
    packs = data_dir("probes") / "packs" / "tiny"
    if not packs.is_dir():
        return {}
    return {path.name: path for path in sorted(packs.iterdir()) if (path / "config.json").is_file()}


def tiny_folder(name: str) -> Path:
    """Return the folder of one tiny model.

    Raises:
        SubjectError: there is none of that name; the hint lists those there are.
    """
    known = tiny_models()
    if name not in known:
        names = ", ".join(f"tiny:{other}" for other in known) or "none are installed"
        raise SubjectError(f"there is no tiny model {name!r}", hint=f"known: {names}")
    return known[name]
