"""Ask every opponent about every suspect: one JSON line a model and reading, resumable."""

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from auditor.canon import canonical_json, finite
from auditor.collect.store import Appender
from auditor.controls.comparison.opponent import Opponent, PeerResult
from auditor.controls.comparison.statistics import PublishedStatistics
from auditor.controls.comparison.tools import TOOLS, ToolOpponent
from auditor.errors import CaseError, InputError
from auditor.progress import Progress, Silent, Task

PUBLISHED = "published"
OPPONENTS = (*TOOLS, PUBLISHED)
PROCESSES = 2
ROLES = ("independent", "sibling", "base", "imitation", "replication")


class Suspect(NamedTuple):
    """One model of known relation to the reference."""

    folder: Path
    kind: str
    """Its role, or ``role/kind``: ``imitation/text-50``."""
    family: str
    split: str
    headline: bool = True
    """False: reported beside the headline numbers (a low dose), not in them."""

    @property
    def role(self) -> str:
        """What it is to the reference."""
        return self.kind.partition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Who is asked, where the tools are, and how long they may take."""

    opponents: Sequence[str] = OPPONENTS
    pythons: Mapping[str, Path] | None = None
    """Interpreter of a tool's environment by module, e.g. ``{"modeldna": Path(...)}``."""
    seconds: float = 300.0
    """Time limit of one pair."""
    retry: bool = False
    """Whether to ask again where the file says why there was no score (a time limit, say)."""
    texts: Sequence[str] | None = None
    """What the published statistics read; None: the first of a shipped suite."""
    progress: Progress = field(default_factory=Silent)


def compare_opponents(
    rows: Path,
    reference_folder: Path,
    suspects: Mapping[str, tuple[Any, ...]],
    settings: Settings | None = None,
) -> list[dict[str, Any]]:
    """Ask each opponent about each suspect, and return all rows of the file `rows`.

    A row is written as soon as it is known; what an earlier run wrote, failures too, is not done
    again while the model is the same (by digest). Two processes at most.

    Args:
        rows: a JSON-lines file, created or continued.
        reference_folder: transformers folder of the reference.
        suspects: name: (folder, role or role/kind, family, split[, headline]), see `Suspect`.
        settings: who is asked, and how.

    Raises:
        MissingExtraError: a tool is not installed; the hint says what to install.
        InputError: an unknown opponent or role.
        SubjectError: a model cannot be read.
        CaseError: `rows` holds something else, or rows on another reference.
    """
    settings = settings or Settings()
    asked = {name: Suspect(*fields) for name, fields in suspects.items()}
    _check(asked, settings.opponents)
    table = _Table(rows, reference_folder, asked, retry=settings.retry)
    opponents = [_opponent(name, settings) for name in settings.opponents]
    jobs = [(one, table.missing(one.readings)) for one in opponents]
    try:
        # An absent tool is said before the others work for an hour.
        for one, names in jobs:
            if names and isinstance(one, ToolOpponent):
                _ = one.version
                one.close()
        with settings.progress.task("opponents", sum(len(names) for _, names in jobs)) as task:
            _run([_Job(table, one, names, task) for one, names in jobs])
    finally:
        table.close()
    return read_rows(rows)


def add_results(
    rows: Path,
    reference_folder: Path,
    suspects: Mapping[str, tuple[Any, ...]],
    results: Mapping[str, Sequence[PeerResult]],
) -> list[dict[str, Any]]:
    """Write results that were made elsewhere (those of our own readings) into the same file.

    Args:
        rows: as `compare_opponents`.
        reference_folder: as there.
        suspects: as there; those of `results`, or more.
        results: by name of the suspect. A row that the file has is kept as it is.

    Raises:
        InputError: a result of no suspect, or an unknown role.
        SubjectError, CaseError: as `compare_opponents`.
    """
    if unknown := sorted(results.keys() - suspects.keys()):
        raise InputError(f"no suspect {unknown[0]!r} for its results")
    asked = {name: Suspect(*suspects[name]) for name in results}
    _check(asked, ())
    table = _Table(rows, reference_folder, asked)
    try:
        for name, found in results.items():
            table.add(name, found)
    finally:
        table.close()
    return read_rows(rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the newest row of each reading and model; a line that a crash cut off is left out.

    Raises:
        CaseError: a line is not a row.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    try:
        rows = [json.loads(line) for line in lines]
        for row in rows:
            _ = [row[name] for name in ("reading", "model", "failure", "reference_digest")]
    except (ValueError, TypeError, KeyError) as error:
        raise CaseError(
            f"{path} is no file of comparison rows ({error})", hint="give another file"
        ) from error
    return list({(row["reading"], row["model"]): row for row in rows}.values())


class _Table:
    """The file of rows, and what it lacks."""

    def __init__(
        self, path: Path, reference: Path, suspects: Mapping[str, Suspect], *, retry: bool = False
    ) -> None:
        from auditor.models import identify

        self.reference = reference
        self.suspects = suspects
        self._reference_digest = identify(str(reference)).digest
        self._digests = {n: identify(str(s.folder)).digest for n, s in suspects.items()}
        rows = read_rows(path)
        if any(row["reference_digest"] != self._reference_digest for row in rows):
            raise CaseError(f"{path} holds rows on another reference", hint="give another file")
        self._known = {
            (row["reading"], row["model"], row["suspect_digest"])
            for row in rows
            if not (retry and row["failure"])
        }
        self._file = Appender(path)
        content = path.read_bytes()
        self._file.cut(content.rfind(b"\n") + 1)
        self._lock = threading.Lock()

    def missing(self, readings: Iterable[str]) -> list[str]:
        """Return the suspects that lack a row of any of these readings."""
        return [
            name
            for name in self.suspects
            if not all(self._key(reading, name) in self._known for reading in readings)
        ]

    def add(self, name: str, results: Iterable[PeerResult]) -> None:
        """Write the rows of one suspect that are not there yet, all at once."""
        new = [found for found in results if self._key(found.reading, name) not in self._known]
        lines = b"".join(canonical_json(self._row(name, one)) + b"\n" for one in new)
        with self._lock:
            self._file.write(lines)
            self._known |= {self._key(one.reading, name) for one in new}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _key(self, reading: str, name: str) -> tuple[Any, ...]:
        return reading, name, self._digests[name]

    def _row(self, name: str, result: PeerResult) -> dict[str, Any]:
        suspect = self.suspects[name]
        return {
            "model": name,
            "role": suspect.role,
            "kind": suspect.kind,
            "family": suspect.family,
            "split": suspect.split,
            "headline": suspect.headline,
            "suspect_digest": self._digests[name],
            "reference_digest": self._reference_digest,
            **asdict(result),
            "score": finite(result.score),
            "failure": _without_places(result.failure, (suspect.folder, self.reference)),
            "raw": _finite_only(dict(result.raw)),
        }


def _without_places(reason: str | None, folders: Iterable[Path]) -> str | None:
    """Return a reason with folders by name alone: rows are published, where models lay is not."""
    for folder in folders:
        for place in (folder.resolve(), folder):
            reason = reason and reason.replace(str(place), folder.name)
    return reason


def _finite_only(value: Any) -> Any:
    """Return the tool's numbers as JSON values; None for NaN and infinity, which no file holds."""
    if isinstance(value, Mapping):
        return {name: _finite_only(part) for name, part in value.items()}
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value


def _check(suspects: Mapping[str, Suspect], opponents: Sequence[str]) -> None:
    for name, suspect in suspects.items():
        if suspect.role not in ROLES:
            raise InputError(
                f"{name} has the role {suspect.role!r}", hint=f"roles: {', '.join(ROLES)}"
            )
    if unknown := [name for name in opponents if name not in OPPONENTS]:
        raise InputError(f"no opponent {unknown[0]!r}", hint=f"known: {', '.join(OPPONENTS)}")


def _opponent(name: str, settings: Settings) -> Opponent:
    if name == PUBLISHED:
        return PublishedStatistics(settings.texts)
    python = (settings.pythons or {}).get(TOOLS[name].module)
    return ToolOpponent(name, python=python, seconds=settings.seconds)


@dataclass(frozen=True, slots=True)
class _Job:
    """One opponent and the suspects that it has not been asked about."""

    table: _Table
    opponent: Opponent
    names: Sequence[str]
    task: Task

    def run(self, stop: threading.Event) -> None:
        """Ask until all are done or `stop` is set."""
        try:
            for name in self.names:
                if stop.is_set():
                    return
                folder = self.table.suspects[name].folder
                self.table.add(name, self.opponent.compare(folder, self.table.reference))
                self.task.advance()
        finally:
            self.opponent.close()


def _run(jobs: Sequence[_Job]) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(PROCESSES) as pool:
        running = [pool.submit(job.run, stop) for job in jobs]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            # Interrupted, or one failed: each job ends after the pair at hand, whose row is kept.
            stop.set()
    for future in running:
        future.result()
