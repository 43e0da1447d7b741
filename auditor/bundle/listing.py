"""The files of a folder of unknown origin, listed without following or opening anything (V01)."""

import os
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOST_FILES = 200_000
MOST_BYTES = 1 << 40
MOST_DEPTH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What is in a folder."""

    sizes: dict[str, int]
    """Path relative to the folder, with /, of each regular file -> bytes."""
    faults: tuple[str, ...]
    """Why it is not safe to read further."""


def list_folder(root: Path) -> Listing:
    """Return all files below a folder; links and devices are faults and are not followed."""
    sizes: dict[str, int] = {}
    names: list[str] = []
    faults: list[str] = []
    pending = [""]
    while pending and len(names) <= MOST_FILES:
        parent = pending.pop()
        with os.scandir(root / parent) as entries:
            for entry in entries:
                name = f"{parent}{entry.name}"
                names.append(name)
                kind = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(kind.st_mode) and name.count("/") < MOST_DEPTH:
                    pending.append(f"{name}/")
                elif stat.S_ISREG(kind.st_mode):
                    sizes[name] = kind.st_size
                    faults += _hard_links(name, kind)
                else:
                    faults.append(f"{name!r} is {_kind(kind.st_mode)}")
    return Listing(sizes=sizes, faults=(*faults, *name_faults(names), *limit_faults(sizes)))


def _hard_links(name: str, kind: os.stat_result) -> list[str]:
    return [f"{name!r} has another name (a hard link)"] if kind.st_nlink > 1 else []


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "nested too deep" if stat.S_ISDIR(mode) else "a device, a socket or a pipe"


def name_faults(names: Iterable[str]) -> list[str]:
    """Return what is wrong with names: hostile, or one for some file systems (case, Unicode)."""
    faults: list[str] = []
    seen: dict[str, str] = {}
    for name in sorted(names):
        if not _plain(name):
            faults.append(f"{name!r} is a name that not every tool reads alike")
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            faults.append(f"{name!r} and {seen[folded]!r} are one name for some file systems")
        seen[folded] = name
    return faults


def _plain(name: str) -> bool:
    parts = name.removesuffix("/").split("/")
    hostile = any(part in ("", ".", "..") for part in parts)
    odd = any(unicodedata.category(letter)[0] == "C" or letter in '\\:*?"<>|' for letter in name)
    return not hostile and not odd and unicodedata.is_normalized("NFC", name)


def limit_faults(sizes: dict[str, int]) -> list[str]:
    """Return which limit on files and bytes is passed."""
    faults = []
    if len(sizes) > MOST_FILES:
        faults.append(f"more than {MOST_FILES:,} files")
    if sum(sizes.values()) > MOST_BYTES:
        faults.append(f"more than {MOST_BYTES:,} bytes")
    return faults
