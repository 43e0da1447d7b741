"""Schemas and versions (V02): every JSON file and every line of one is as its schema has it."""

import codecs
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from auditor.bundle.canonical_line import canonical_line, strict_json
from auditor.bundle.check import Check, judged
from auditor.bundle.evidence import FILE, SCHEMA, media_type, role
from auditor.bundle.scan import Scanned
from auditor.bundle.schemas import departures, schema_of, title
from auditor.canon import json_digest

_SHOWN = 160
"""Characters of a parser's reason that are shown."""
_MOST_LINES = 20
"""Faults of one file of lines after which the rest of it is not read."""


def check_schemas(root: Path, scanned: Mapping[str, Scanned]) -> Check:
    """V02: every JSON file is strict, of a version that this release knows, and of its schema."""
    names = [name.removeprefix("data/") for name in scanned if name.startswith("data/")]
    if FILE not in names:
        return judged("V02", [f"data/{FILE} is missing: another tool's bag, or taken out"])
    # The lines of a file of which the replies are known were found right when it was read.
    unread = [name for name in sorted(names) if scanned[f"data/{name}"].replies is None]
    faults = [f for name in unread for f in _file_faults(root / "data" / name, name)]
    faults += [] if faults else _index_faults(root / "data", scanned)
    return judged("V02", faults)


def _file_faults(path: Path, name: str) -> Iterator[str]:
    if name.endswith(".jsonl"):
        yield from _line_faults(path, name)
    elif name.endswith(".json"):
        yield from _document_faults(path, name)


def _document_faults(path: Path, name: str) -> Iterator[str]:
    try:
        content = strict_json(path.read_bytes())
    except (ValueError, RecursionError) as error:
        yield f"data/{name} is not strict JSON: {_reason(error)}"
        return
    schema = schema_of(name)
    if schema is None:
        return
    found = content.get("schema") if isinstance(content, dict) else None
    if found != title(schema):
        yield f"data/{name} is of schema {_short(found)}; this release reads {title(schema)}"
        return
    for departure in departures(content, schema):
        yield f"data/{name}, {departure}"


def _line_faults(path: Path, name: str) -> Iterator[str]:
    schema = schema_of(name)
    if schema is None:
        return
    left = _MOST_LINES
    with path.open("rb", buffering=1 << 20) as stream:
        for number, line in enumerate(stream, start=1):
            for fault in _line_departures(line.removesuffix(b"\n"), schema, number):
                yield f"data/{name}, line {number}, {fault}"
                left -= 1
            if left <= 0:
                yield f"data/{name} was not read beyond line {number}"
                return


def _line_departures(line: bytes, schema: str, number: int) -> Iterator[str]:
    """Yield what is wrong with a line: a suite holds JSON, all other files canonical JSON."""
    if schema == "suite-item":
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if not line.strip():
            return
    try:
        row = strict_json(line) if schema == "suite-item" else canonical_line(line)
    except (ValueError, RecursionError) as error:
        yield f"not strict JSON: {_reason(error)}"
        return
    yield from departures(row, schema)


def _short(value: Any) -> str:
    return ascii(value)[:_SHOWN] if isinstance(value, str) else "none"


def _reason(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else str(error)[:_SHOWN]


def _index_faults(data: Path, scanned: Mapping[str, Scanned]) -> Iterator[str]:
    content = strict_json((data / FILE).read_bytes())
    plan = data / "plan.json"
    if not plan.is_file() or content["case_id"] != json_digest(strict_json(plan.read_bytes())):
        yield f"data/{FILE}: case_id is not the digest of plan.json"
    for name, entry in content["files"].items():
        yield from _entry_faults(name, entry, scanned.get(f"data/{name}"))


def _entry_faults(name: str, entry: Mapping[str, Any], found: Scanned | None) -> Iterator[str]:
    if (entry["role"], entry["media_type"]) != (role(name), media_type(name)):
        yield f"data/{FILE}: {name} has another role or media type than its name says"
    if found is not None and (entry["sha256"], entry["bytes"]) != (found.sha256, found.size):
        yield f"data/{name} is not the file that {FILE} lists"


def another_version(root: Path) -> bool:
    """Whether the index says that the case is of a format that this release cannot read."""
    content = strict_json((root / "data" / FILE).read_bytes())
    found = content.get("schema") if isinstance(content, dict) else None
    return found != SCHEMA
