"""The models of a few hundred kB that ship with the package, and the packs they come in."""

import json
from dataclasses import dataclass
from pathlib import Path

from auditor.data import data_dir
from auditor.errors import InputError, SubjectError
from auditor.types import CONTROL_ROLES, Role

_PLAIN = "tiny"
"""The pack whose models go by their bare names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackControl:
    """A model of a pack that serves as a control."""

    spec: str
    role: Role
    family: str


def tiny_models() -> dict[str, Path]:
    """Return the folders of the shipped models by name, sorted: ``teacher``, ``zoo/gpt2-00``."""
    packs = data_dir("probes") / "packs"
    if not packs.is_dir():
        return {}
    found = {}
    for config in packs.glob("*/**/config.json"):
        pack = config.relative_to(packs).parts[0]
        name = config.parent.name
        found[name if pack == _PLAIN else f"{pack}/{name}"] = config.parent
    return dict(sorted(found.items()))


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


def packs() -> tuple[str, ...]:
    """Return the names of the shipped packs of controls, sorted."""
    folder = data_dir("probes") / "packs"
    return tuple(sorted(path.parent.name for path in folder.glob("*/controls.json")))


def pack_folder(name: str) -> Path:
    """Return the folder of a shipped pack of controls.

    Raises:
        InputError: there is none of that name; the hint lists those there are.
    """
    if name not in packs():
        known = ", ".join(f"pack:{other}" for other in packs()) or "none"
        raise InputError(f"there is no pack of controls {name!r}", hint=f"known: {known}")
    return data_dir("probes") / "packs" / name


def pack_controls(name: str) -> tuple[PackControl, ...]:
    """Return the controls of a shipped pack, or of a folder with a controls.json, in its order.

    Raises:
        InputError: there is no such pack, or the folder's controls.json is malformed.
    """
    folder = Path(name).expanduser()
    if name not in packs() and (folder / "controls.json").is_file():
        return _folder_controls(folder)
    listed = json.loads((pack_folder(name) / "controls.json").read_bytes())["controls"]
    return tuple(
        PackControl(spec=f"tiny:{name}/{row['name']}", role=row["role"], family=row["family"])
        for row in listed
    )


def _folder_controls(folder: Path) -> tuple[PackControl, ...]:
    """Return the controls of a folder; a row without `path` has its model in ``models/NAME``."""
    path = folder / "controls.json"
    try:
        found = tuple(
            PackControl(
                spec=f"local:{(folder / row.get('path', 'models/' + row['name'])).resolve()}",
                role=row["role"],
                family=row["family"],
            )
            for row in json.loads(path.read_bytes())["controls"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} lists no controls: {error!r}", hint="build it again") from error
    for control in found:
        if control.role not in CONTROL_ROLES:
            known = ", ".join(CONTROL_ROLES)
            raise InputError(f"{path}: unknown role {control.role!r}", hint=f"roles: {known}")
    return found
