"""Schemas and versions (V02): strict JSON, known schemas, and the index as its schema has it."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from auditor.bundle.check import Check, judged
from auditor.bundle.evidence import FILE, SCHEMA, media_type, role
from auditor.bundle.scan import Scanned
from auditor.canon import canonical_json, json_digest
from auditor.withheld import PARENT

_SCHEMAS = {
    "plan.json": "auditor/plan/1",
    "subjects.json": "auditor/subjects/1",
    "environment.json": "auditor/environment/1",
    "statistics.json": "auditor/statistics/1",
    "conclusion.json": "auditor/conclusion/1",
    "deviations.json": "auditor/deviations/1",
    "calibration.json": "auditor/calibration/1",
    "marks.json": "auditor/case-marks/1",
    "redaction.json": "auditor/redaction/1",
    f"{PARENT}/{FILE}": SCHEMA,
    FILE: SCHEMA,
}
_KEYS = {"schema", "case_id", "sealed", "tool", "files", "parent", "withheld"}
_HEX = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)")


def strict_json(content: bytes) -> Any:
    """Return parsed JSON; duplicate keys, NaN and what canonical JSON lacks are refused.

    Raises:
        ValueError: says what.
    """
    value = json.loads(content, object_pairs_hook=_unique, parse_constant=_refuse)
    canonical_json(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def check_schemas(root: Path, scanned: Mapping[str, Scanned]) -> Check:
    """V02: every JSON file is strict, and of the schema and version that this release knows."""
    names = [name.removeprefix("data/") for name in scanned if name.startswith("data/")]
    if FILE not in names:
        return judged("V02", [f"data/{FILE} is missing: another tool's bag, or taken out"])
    faults = [f for name in sorted(names) for f in _file_faults(root / "data" / name, name)]
    faults += [] if faults else _index_faults(root / "data", scanned)
    return judged("V02", faults)


def _file_faults(path: Path, name: str) -> Iterator[str]:
    if not name.endswith(".json"):
        return
    try:
        content = strict_json(path.read_bytes())
    except (ValueError, RecursionError) as error:
        yield f"data/{name} is not strict JSON: {error}"
        return
    wanted = _SCHEMAS.get(name)
    if name.startswith("result") and "/" not in name:
        wanted = "auditor/result/1"
    found = content.get("schema") if isinstance(content, dict) else None
    if wanted is not None and found != wanted:
        yield f"data/{name} is of schema {found!r}; this release reads {wanted}"


def _index_faults(data: Path, scanned: Mapping[str, Scanned]) -> Iterator[str]:
    content = strict_json((data / FILE).read_bytes())
    if set(content) != _KEYS or not isinstance(content["files"], dict):
        yield f"data/{FILE} has other keys than {', '.join(sorted(_KEYS))}"
        return
    if not isinstance(content["sealed"], str) or not _TIME.fullmatch(content["sealed"]):
        yield f"data/{FILE}: sealed is no time in UTC"
    if set(content["tool"]) != {"name", "version", "source_digest"}:
        yield f"data/{FILE}: tool lacks its name, version or source digest"
    plan = data / "plan.json"
    if not plan.is_file() or content["case_id"] != json_digest(strict_json(plan.read_bytes())):
        yield f"data/{FILE}: case_id is not the digest of plan.json"
    for name, entry in content["files"].items():
        yield from _entry_faults(name, entry, scanned.get(f"data/{name}"))


def _entry_faults(name: str, entry: Mapping[str, Any], found: Scanned | None) -> Iterator[str]:
    if (entry["role"], entry["media_type"]) != (role(name), media_type(name)):
        yield f"data/{FILE}: {name} has another role or media type than its name says"
    if not _HEX.fullmatch(str(entry["sha256"])):
        yield f"data/{FILE}: {name} has no SHA-256"
    elif found is not None and (entry["sha256"], entry["bytes"]) != (found.sha256, found.size):
        yield f"data/{name} is not the file that {FILE} lists"


def another_version(root: Path) -> bool:
    """Whether the index says that the case is of a format that this release cannot read."""
    content = strict_json((root / "data" / FILE).read_bytes())
    found = content.get("schema") if isinstance(content, dict) else None
    return found != SCHEMA
