"""Which files of a case a report rests on, and how anybody checks that they are the same."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from auditor.canon import file_digest
from auditor.case import Case

# The custody log grows whenever the case is touched, the seal adds its index, the program
# that recomputes it and a time stamp; the rest is written by the report itself.
_NOT_LISTED = ("custody.jsonl", "evidence.json", "plan.tsr", "replay.py")
_WRITTEN_HERE = ("report", "result")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of the case, relative to its data folder."""

    name: str
    size: int | None
    """Bytes; None where a file that was recorded is not there."""
    digest: str
    """SHA-256, hex."""


def listed_files(case: Case) -> list[ListedFile]:
    """Return the files that the report was made from, sorted by name; each is read."""
    paths = {p.relative_to(case.data).as_posix(): p for p in case.data.rglob("*") if p.is_file()}
    return listed(
        {
            name: (path.stat().st_size, file_digest(path).removeprefix("sha256:"))
            for name, path in paths.items()
            if not _is_left_out(name)
        }
    )


def listed(found: Mapping[str, tuple[int, str]]) -> list[ListedFile]:
    """Return those of the files of ``data/`` that a report lists, folder by folder.

    Args:
        found: name -> bytes, and SHA-256 in hex.
    """
    names = sorted((n for n in found if not _is_left_out(n)), key=lambda name: name.split("/"))
    return [ListedFile(name, *found[name]) for name in names]


def without_subjects(files: Iterable[ListedFile], names: Iterable[str]) -> list[ListedFile]:
    """Return the files that are not of one of these subjects alone.

    A report on one of hundreds of suspects does not rest on the files of the others; with them the
    size of all reports together would grow with the square of the number of suspects.
    """
    others = frozenset(names)
    return [file for file in files if _subject_of(file.name) not in others]


def _subject_of(name: str) -> str | None:
    """Return the subject that a file is of, None where it is of the whole case."""
    folder, _, rest = name.partition("/")
    if folder == "arrays":
        return rest.rpartition("/")[2].removesuffix(".npy")
    if folder == "records":
        return rest.partition("/")[0]
    return rest.rpartition(".")[0] if folder in ("collected", "exchanges") else None


def _is_left_out(name: str) -> bool:
    own = "/" not in name and name.startswith(_WRITTEN_HERE)
    return own or name in _NOT_LISTED or name.endswith(".part")


def checksum_lines(files: list[ListedFile]) -> str:
    """Return the lines that ``sha256sum -c`` reads, run in the data folder."""
    return "".join(f"{file.digest}  {file.name}\n" for file in files)
