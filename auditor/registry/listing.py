"""Suspects named by the hundred: list files and folders of models, each bad entry on its own."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.canon import whole_json
from auditor.errors import AuditorError, InputError, SubjectError

if TYPE_CHECKING:
    from auditor.models.specifier import Specifier

_COMMENT = re.compile(r"(?:^|\s)#.*$")
_MARKS = ("config.json", "adapter_config.json", "model.safetensors", "model.safetensors.index.json")
"""A folder that holds one of these is a model, or means to be one."""
_MOST_BYTES = 16_000_000
"""A longer list is no list: 100,000 specifiers take about 10 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A suspect, and where it was named."""

    spec: str
    origin: str
    """``argument 2``, ``suspects.txt:14`` or the folder that holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What was named and is not examined."""

    entry: str
    origin: str
    reason: str
    hint: str | None = None
    repeated: bool = False
    """It names a model that was named before: nothing is lost."""

    def as_json(self) -> dict[str, object]:
        """Return the row of ``auditor/prefilter/1``; of names that are no text, U+FFFD in part."""
        row: dict[str, object] = whole_json(
            {
                "entry": self.entry,
                "origin": self.origin,
                "reason": self.reason,
                "hint": self.hint,
                "repeated": self.repeated,
            }
        )
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Every suspect that was named, in the order given, and what cannot be one."""

    entries: tuple[Entry, ...]
    refused: tuple[Refused, ...]


def listed(suspects: tuple[str, ...], lists: tuple[Path, ...] = ()) -> Listed:
    """Return the suspects of arguments and list files; a folder of models stands for all in it.

    A list has one specifier a line; ``#`` at the start of a line or after a space begins a
    comment; relative paths start at the folder of the list.

    Raises:
        InputError: a list cannot be read or names nothing, or a folder of the arguments holds no
            model. Single bad entries are returned, not raised.
    """
    gathering = _Gathering()
    for number, spec in enumerate(suspects, start=1):
        gathering.add(spec, f"argument {number}", once=False)
    for path in lists:
        lines = _lines(path)
        if not lines:
            raise InputError(
                f"the list {path} names no model",
                hint="write one specifier a line, as local:DIR or org/name; # begins a comment",
            )
        for number, text in lines:
            gathering.add_line(text, path, number)
    return Listed(entries=tuple(gathering.entries), refused=tuple(gathering.refused))


def is_collection(spec: str) -> bool:
    """Return whether a bare text is a folder that is no model: then it may hold some."""
    return _collection(spec) is not None


def models_in(folder: Path) -> tuple[Path, ...]:
    """Return the model folders and GGUF files below a folder, sorted.

    A link to one of either is one, even where it is broken; other links are not followed. A folder
    that may not be listed is among them: what is in it is not known.
    """
    return tuple(sorted(_found(folder)))


def _collection(spec: str) -> Path | None:
    """Return the folder that a text names, absolute, where it is no model; else None."""
    try:
        folder = Path(spec.removeprefix("local:")).expanduser()
        return folder.resolve() if folder.is_dir() and not _is_model(folder) else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, an unknown ~user
        return None


def _found(folder: Path) -> Iterator[Path]:
    unlisted: list[Path] = []

    def failed(error: OSError) -> None:
        unlisted.append(Path(error.filename))

    for place, folders, files in os.walk(folder, onerror=failed):
        here = Path(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        if here != folder and _is_model(here):
            folders.clear()
            yield here
            continue
        yield from (here / name for name in folders if _is_linked_model(here / name))
        yield from (here / name for name in files if _may_be_one(here / name))
    yield from unlisted  # named, to be refused, and not passed over


def _is_linked_model(folder: Path) -> bool:
    # os.walk does not go into links, which may lead in circles: it would say nothing of these.
    return folder.is_symlink() and _is_model(folder)


def _may_be_one(path: Path) -> bool:
    # A broken link may have led to a model: it is named, to be refused, and not passed over.
    named = path.name.lower().endswith(".gguf")
    return named or (not path.name.startswith(".") and _is_broken_link(path))


def _is_broken_link(path: Path) -> bool:
    try:
        return path.is_symlink() and not path.exists()
    except OSError:  # it leads to where nothing may be looked at
        return True


def _is_model(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in _MARKS)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return (line number, specifier) of a list, comments and empty lines left out."""
    hint = "give a text file with one specifier a line"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"the list {path} is larger than {_MOST_BYTES:,} bytes", hint=hint)
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"the list {path} cannot be read: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise InputError(f"the list {path} is not UTF-8 text", hint=hint) from error
    # Not splitlines: it breaks at characters that a path may hold.
    stripped = ((n, _COMMENT.sub("", line).strip()) for n, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in stripped if line]


class _Gathering:
    """The entries as they are added, and who named each model first."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.refused: list[Refused] = []
        self._first: dict[str, str] = {}

    def add_line(self, text: str, path: Path, number: int) -> None:
        from auditor.models.specifier import beside
        from auditor.models.subject_files import subject_errors

        origin = f"{path}:{number}"
        try:
            with subject_errors(text):
                self.add(beside(text, path.parent), origin, once=True)
        except AuditorError as error:
            self._refuse(text, origin, error)

    def add(self, spec: str, origin: str, *, once: bool) -> None:
        """Add a suspect, or all of a folder; `once`: leave out what was named before."""
        from auditor.models.specifier import parse

        folder = _collection(spec)
        if folder is None:
            self._keep(parse(spec), spec, origin, once=once)
            return
        found = models_in(folder)
        if not found:
            raise SubjectError(
                f"{folder} holds no model",
                hint="give a folder with models in it: folders with a config.json, or .gguf files",
            )
        for path in found:
            self._add_path(path, origin)

    def _add_path(self, path: Path, origin: str) -> None:
        from auditor.models.specifier import of_path
        from auditor.models.subject_files import subject_errors

        try:
            with subject_errors(str(path)):
                self._keep(of_path(path), str(path), origin, once=True)
        except AuditorError as error:
            self._refuse(str(path), origin, error)

    def _keep(self, specifier: "Specifier", spec: str, origin: str, *, once: bool) -> None:
        planned = specifier.planned
        first = self._first.get(planned)
        if once and first is not None:
            reason = f"the same model is named before, by {first}: it is examined once"
            self.refused.append(Refused(entry=spec, origin=origin, reason=reason, repeated=True))
            return
        self._first.setdefault(planned, origin)
        self.entries.append(Entry(spec=planned, origin=origin))

    def _refuse(self, text: str, origin: str, error: AuditorError) -> None:
        refused = Refused(entry=text, origin=origin, reason=error.message, hint=error.hint)
        self.refused.append(refused)
