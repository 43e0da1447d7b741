"""Schemas and versions (V02): every JSON file and every line of one is as its schema has it."""

import codecs
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from auditor.bundle.check import Check, judged
from auditor.bundle.evidence import FILE, SCHEMA, media_type, role
from auditor.bundle.scan import Scanned
from auditor.bundle.schemas import departures, schema_of, title
from auditor.canon import canonical_json, json_digest

_LARGEST = 2**53 - 1
_DIGITS = 17
"""Of an integer up to 2**53, with its sign."""
_LONG = re.compile(rb"[:,[]-?[0-9]{16}")
"""What may be an integer beyond 2**53."""
_SHOWN = 160
"""Characters of a parser's reason that are shown."""
_MOST_LINES = 20
"""Faults of one file of lines after which the rest of it is not read."""


def strict_json(content: bytes) -> Any:
    """Return parsed JSON; duplicate keys, NaN and what canonical JSON lacks are refused.

    Raises:
        ValueError: says what.
    """
    value = json.loads(
        content.decode(),
        object_pairs_hook=_unique,
        parse_constant=_refuse,
        parse_int=_integer,
        parse_float=_float,
    )
    # An escape may name half of a surrogate pair, which UTF-8 has no bytes for.
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _integer(number: str) -> int:
    if len(number) > _DIGITS or abs(int(number)) > _LARGEST:
        raise ValueError("an integer is beyond 2**53")
    return int(number)


def _float(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def canonical_line(line: bytes) -> Any:
    """Return what a line of canonical JSON says.

    Raises:
        ValueError: it is not strict JSON, or not spelled as RFC 8785 has it.
    """
    try:
        row = json.loads(line, parse_float=_plain, parse_constant=_refuse)
        text = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        # The fast encoder writes such values as the canonical one does.
        if text.encode() == line and not _LONG.search(line):
            return row
    except ValueError:
        pass  # the slow way says what is wrong, or that nothing is
    row = strict_json(line)
    if canonical_json(row) != line:
        raise ValueError("it is not spelled as RFC 8785 has it")
    return row


def _plain(number: str) -> float:
    """Return a float that is spelled alike by Python and by RFC 8785: 0.5, not 1e-7 or 2.0."""
    if "e" in number or "E" in number or number.endswith(".0"):
        raise ValueError(number)
    return float(number)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def check_schemas(root: Path, scanned: Mapping[str, Scanned]) -> Check:
    """V02: every JSON file is strict, of a version that this release knows, and of its schema."""
    names = [name.removeprefix("data/") for name in scanned if name.startswith("data/")]
    if FILE not in names:
        return judged("V02", [f"data/{FILE} is missing: another tool's bag, or taken out"])
    faults = [f for name in sorted(names) for f in _file_faults(root / "data" / name, name)]
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
