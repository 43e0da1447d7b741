"""Paths and files of a case folder: one audit, written append-only and resumable.

``data/`` is what a sealed case will hold (evidence format 1); ``work/`` is scratch that a
finished case can lose: the reference's hidden states, its head, the lock.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from auditor.canon import json_digest, pretty_json
from auditor.errors import CaseError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PLACE = (errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG)


class Case:
    """A case folder on disk. Create or continue one with `open_case`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.work = root / "work"
        self._kept: dict[str, tuple[tuple[int, int, int], Any]] = {}

    def records(self, subject: str, suite: str) -> Path:
        """Return the record file of a subject on a suite."""
        return self.data / "records" / subject / f"{suite}.jsonl"

    def array(self, kind: str, subject: str) -> Path:
        """Return the array file of a kind (``agreement``, ``embeddings``, ...) for a subject."""
        return self.data / "arrays" / kind / f"{subject}.npy"

    def read_json(self, name: str) -> Any:
        """Return the content of ``data/<name>``.

        Raises:
            CaseError: it is missing or not JSON.
        """
        path = self.data / name
        try:
            return json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CaseError(f"{path} is missing", hint="is this a case folder?") from error
        except ValueError as error:
            raise CaseError(f"{path} is not JSON: {error}") from error

    def kept_json(self, name: str) -> Any:
        """Return the content of ``data/<name>`` as `read_json`, parsed once for each state of it.

        For what is read again for every suspect: parsing it each time makes the time of a scan
        grow with the square of their number. All callers share the value and must not change it.

        Raises:
            CaseError: as `read_json`.
        """
        try:
            found = (self.data / name).stat()
        except OSError:
            return self.read_json(name)
        state = (found.st_ino, found.st_mtime_ns, found.st_size)
        kept = self._kept.get(name)
        if kept is None or kept[0] != state:
            kept = self._kept[name] = (state, self.read_json(name))
        return kept[1]

    def write_json(self, name: str, value: Any) -> None:
        """Write ``data/<name>`` atomically, readable and key-sorted; NaN is refused."""
        atomic_write(self.data / name, pretty_json(value))


FORMATS = {"plan.json": "auditor/plan/1", "evidence.json": "auditor/evidence/1"}
"""What this release reads and writes; the last number is the major version."""


def check_format(root: Path) -> None:
    """Refuse what is no folder, and a case of a version that this release cannot read.

    Raises:
        CaseError: says which.
    """
    if root.is_file():
        raise CaseError(
            f"{root} is a file, not the folder of a case",
            hint="unpack a zip first and give the folder: only `auditor verify` reads a zip",
        )
    for name, wanted in FORMATS.items():
        try:
            content = json.loads((root / "data" / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            continue  # missing or broken: named where it is read
        found = content.get("schema") if isinstance(content, dict) else None
        if isinstance(found, str) and found != wanted:
            raise CaseError(
                f"data/{name} is of schema {found!r}; this release reads {wanted}",
                hint="use the release of auditor that wrote the case",
            )


def open_case(root: Path, plan: dict[str, Any]) -> Case:
    """Return the case at `root`, created with `plan` or continued where it holds the same plan.

    Raises:
        CaseError: the folder holds another case, or files that are not a case.
    """
    case = Case(root)
    if (case.data / "plan.json").is_file():
        found = case.read_json("plan.json")
        if json_digest(found) != json_digest(plan):
            keys = sorted(k for k in {*found, *plan} if found.get(k) != plan.get(k))
            raise CaseError(
                f"{root} holds another case (it differs in: {', '.join(keys)})",
                hint="give another --out, or repeat the command that started it to continue",
            )
        return case
    if root.exists() and not _barely_begun(root):
        raise CaseError(
            f"{root} exists and is not a case folder", hint="give an empty or a new --out"
        )
    case.write_json("plan.json", plan)
    return case


def _barely_begun(root: Path) -> bool:
    """Whether a folder holds nothing but what a kill leaves before a plan is there."""
    left = {"data", "data/plan.json.part"}
    return root.is_dir() and all(p.relative_to(root).as_posix() in left for p in root.rglob("*"))


@contextlib.contextmanager
def locked(case: Case) -> Iterator[None]:
    """Hold the case for one process.

    Raises:
        CaseError: another process holds it.
    """
    with storage_errors(case.work):
        case.work.mkdir(parents=True, exist_ok=True)
        handle = (case.work / "lock").open("w")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CaseError(
                f"another process works on {case.root}", hint="wait for it to end"
            ) from error
        yield


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a refused write into a StorageError that names the place and the remedy.

    That a file is missing, or stands in the way, is one where it is this path or a folder above it.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_PLACE and _leads_to(error.filename, path):
            raise StorageError(
                f"{path} cannot be made: {error.strerror}: {error.filename}",
                hint="give another place: a folder that is there or can be made",
            ) from error
        if error.errno in _FULL:
            what = "no space left for"
        elif isinstance(error, PermissionError) or error.errno == errno.EROFS:
            what = "not allowed to write"
        else:
            raise
        raise StorageError(
            f"{what} {path}",
            hint="free some space (or choose another --out) and repeat the command: "
            "finished work is kept",
        ) from error


def _leads_to(name: Any, path: Path) -> bool:
    ways = {path, path.with_name(path.name + ".part"), *path.parents} if path.name else {path}
    return isinstance(name, str) and Path(name) in ways


def atomic_write(path: Path, content: bytes) -> None:
    """Write a whole file so that a reader, or a crash, sees the old one or the new one.

    Raises:
        StorageError: the disk is full or the place is not writable; the old file is intact.
    """
    with atomic_stream(path) as stream:
        stream.write(content)


@contextlib.contextmanager
def atomic_stream(path: Path) -> Iterator[BinaryIO]:
    """Yield what is written to; the file is there, whole, when the block ends without an error.

    Raises:
        StorageError: as `atomic_write`.
    """
    part = path.with_name(path.name + ".part")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
