"""Read a case folder back: probes, records, arrays and the identity of every subject.

Loads no model and trusts nothing: record chains are checked, arrays are opened without pickle.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from auditor.canon import json_digest, leaf_hash, parsed_line
from auditor.case import Case
from auditor.errors import CaseError
from auditor.types import Access, Answer, Array, Message, ModelRef, Probe
from auditor.withheld import placeholder, withheld_lines, withheld_record


def probe_as_json(probe: Probe) -> dict[str, Any]:
    """Return the fields of a probe as JSON values, those at their default left out."""
    fields: dict[str, Any] = {"id": probe.id, "category": probe.category}
    if probe.messages:
        fields["messages"] = [{"role": m.role, "content": m.content} for m in probe.messages]
    if probe.answer is not None:
        fields["answer"] = {"kind": probe.answer.kind, "value": probe.answer.value}
        if probe.answer.choices:
            fields["answer"]["choices"] = list(probe.answer.choices)
    for name in ("text", "language"):
        if getattr(probe, name) is not None:
            fields[name] = getattr(probe, name)
    if probe.weight != 1.0:
        fields["weight"] = probe.weight
    return fields


def probe_digest(probe: Probe) -> str:
    """Return the digest of what a probe asks, as written into every record of it."""
    return json_digest(probe_as_json(probe))


@dataclass(frozen=True, slots=True)
class PlannedSuite:
    """The part of a suite that a case uses."""

    id: str
    """``name@version``."""
    probes: tuple[Probe, ...]


def planned_suites(case: Case) -> tuple[PlannedSuite, ...]:
    """Return the planned probes of each suite, in plan order, read from ``data/probes``.

    Raises:
        CaseError: a planned suite or probe is not in the case.
    """
    suites = []
    for entry in case.kept_json("plan.json")["suites"]:
        name = f"{entry['name']}@{entry['version']}"
        probes = _suite_probes(case.data / "probes" / name)
        missing = [probe for probe in entry["probes"] if probe not in probes]
        if missing:
            raise CaseError(f"the case lacks probe {missing[0]!r} of suite {name}")
        suites.append(PlannedSuite(name, tuple(probes[probe] for probe in entry["probes"])))
    return tuple(suites)


def planned_probes(case: Case) -> tuple[Probe, ...]:
    """Return the P probes of the case, in plan order: the axis of every array."""
    return tuple(probe for suite in planned_suites(case) for probe in suite.probes)


_FileState = tuple[Path, int, int, int]
"""A file, its inode, time of change in ns, and size."""


def _suite_probes(folder: Path) -> dict[str, Probe]:
    """Return {id: probe} of a copied suite: its items, and those of a revealed sealed part."""
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise CaseError(f"{folder} holds no probes", hint="was the case collected?")
    manifest = folder / "suite.toml"
    return _parsed_suite(
        folder, tuple(map(_state, files)), _state(manifest) if manifest.is_file() else None
    )


def _state(path: Path) -> _FileState:
    found = path.stat()
    return path, found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=64)
def _parsed_suite(
    folder: Path, items: tuple[_FileState, ...], manifest: _FileState | None
) -> dict[str, Probe]:
    """Return the probes of files in a certain state; a case reads them many times."""
    weight, language = 1.0, None
    try:
        if manifest is not None:
            fields = tomllib.loads(manifest[0].read_text(encoding="utf-8"))
            weight = float(fields["weight"])
            # A suite in one language does not repeat it on every line.
            language = fields["languages"][0] if len(fields["languages"]) == 1 else None
        probes = [
            replace(_probe(item), weight=weight, language=item.get("language") or language)
            for path, *_ in items
            for item in _items(path)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise CaseError(f"the probes in {folder} cannot be read: {error}") from error
    return {probe.id: probe for probe in probes}


def _items(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    parsed = [json.loads(line) for line in lines if line.strip()]
    return [item for item in parsed if "id" in item]  # a sealed part starts with its salt


def _probe(item: dict[str, Any]) -> Probe:
    fields = dict(item)
    answer = fields.pop("answer", None)
    if answer is not None:
        answer = Answer(**{**answer, "choices": tuple(answer.get("choices", ()))})
    messages = tuple(Message(**message) for message in fields.pop("messages", None) or ())
    return Probe(messages=messages, answer=answer, **fields)


def chained_lines(
    path: Path, withheld: Mapping[int, str] | None = None
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield (line without newline, parsed line) of an append-only file; a torn end is not yielded.

    Args:
        path: of the file.
        withheld: {index: leaf hash} of lines that are not shown; each is yielded as
            ``{"seq", "withheld"}``.

    Raises:
        CaseError: a line is not JSON, or does not continue the chain of the one before it.
    """
    previous = ""
    with path.open("rb") as stream:
        for number, line in enumerate(stream):
            if not line.endswith(b"\n"):
                return
            line = line[:-1]
            leaf = (withheld or {}).get(number)
            if leaf is not None and line == placeholder(leaf):
                yield line, {"seq": number, "withheld": leaf}
                previous = leaf
                continue
            try:
                row = parsed_line(line)
                intact = leaf is None and row["seq"] == number and row["prev"] == previous
            except (ValueError, KeyError, TypeError):
                intact = False
            if not intact:
                raise CaseError(
                    f"{path}: line {number + 1} does not continue the chain; the file was changed",
                    hint="restore the file from a copy, or collect into a new folder",
                )
            yield line, row
            previous = leaf_hash(line)


def iterate_records(case: Case, subject: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a subject in plan order: every probe, and its repeats, of every suite.

    Of a withheld record only its place is known: its outcome is ``withheld``, its text `Withheld`.

    Raises:
        CaseError: a file is missing, incomplete, broken, or not the one that the plan asks for.
    """
    repeats = case.kept_json("plan.json")["repeats"]
    for suite in planned_suites(case):
        path = case.records(subject, suite.id)
        if not path.is_file():
            raise CaseError(f"{path} is missing", hint="collect the case first")
        planned, rows = len(suite.probes) * repeats, 0
        hidden = withheld_lines(case).get(path.relative_to(case.data).as_posix(), {})
        for _, row in chained_lines(path, hidden):
            if rows >= planned:
                raise CaseError(f"{path}: line {rows + 1} is not what the plan asks for")
            expected = (suite.probes[rows // repeats].id, rows % repeats)
            if row["seq"] in hidden:
                row = withheld_record(row, subject, suite.id, expected)
            found = (row["probe_id"], row["repeat"])
            if found != expected or row["subject"] != subject:
                raise CaseError(f"{path}: line {rows + 1} is not what the plan asks for")
            rows += 1
            yield row
        if rows != planned:
            raise CaseError(f"{path} holds {rows} of {planned} records")


def read_records(case: Case, subject: str) -> tuple[dict[str, Any], ...]:
    """Return the records of a subject in plan order; see `iterate_records`."""
    return tuple(iterate_records(case, subject))


def read_refs(case: Case) -> dict[str, ModelRef]:
    """Return the identity of every collected subject, by name.

    Raises:
        CaseError: subjects.json is missing or malformed.
    """
    refs = {}
    for subject in case.kept_json("subjects.json")["subjects"]:
        fields = dict(subject["ref"])
        refs[subject["name"]] = ModelRef(**{**fields, "access": Access[fields["access"]]})
    return refs


def read_array(case: Case, kind: str, subject: str) -> Array | None:
    """Return a stored array, mapped read-only, or None where it was not collected.

    Raises:
        CaseError: the file is not a plain array.
    """
    path = case.array(kind, subject)
    if not path.is_file():
        return None
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise CaseError(f"{path} is not an array file: {error}") from error
