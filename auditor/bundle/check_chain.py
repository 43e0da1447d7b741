"""Chains (V07)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from auditor.bundle.check import Check, judged
from auditor.bundle.check_parent import proof_faults
from auditor.bundle.scan import Scanned
from auditor.canon import json_digest
from auditor.case import Case

_CUSTODY = "data/custody.jsonl"


def check_chains(case: Case, scanned: Mapping[str, Scanned]) -> Check:
    """V07: every chain is whole, its root is the indexed one, and custody saw its last line."""
    return judged("V07", _chain_faults(case, scanned))


def _chain_faults(case: Case, scanned: Mapping[str, Scanned]) -> Iterator[str]:
    files = case.read_json("evidence.json")["files"]
    for name, found in scanned.items():
        if found.lines is None:
            continue
        if found.fault is not None:
            yield f"{name}: {found.fault}"
        entry = files.get(name.removeprefix("data/"), {})
        tree = (entry.get("lines"), entry.get("merkle_root"), entry.get("last"))
        if tree != (found.lines, found.merkle_root, found.last):
            yield f"{name} has another Merkle root, number of lines or last line than indexed"
    yield from _logged_faults(case, scanned)
    yield from proof_faults(case, scanned)


def _logged_faults(case: Case, scanned: Mapping[str, Scanned]) -> Iterator[str]:
    """Yield the files that are not those whose end or digest the custody log has last."""
    ends: dict[str, tuple[int, str]] = {}
    collected: dict[str, str] = {}
    for event in custody_events(case):
        if event["event"] == "records":
            ends[event["file"]] = (event["lines"], event["last"])
        elif event["event"] == "collected":
            collected[event["name"]] = event["digest"]
    for name, found in scanned.items():
        if name.startswith("data/records/") and ends.get(name) != (found.lines, found.last):
            yield f"{name} is not the file whose end custody.jsonl logged"
    for subject, digest in collected.items():
        if json_digest(case.read_json(f"collected/{subject}.json")) != digest:
            yield f"data/collected/{subject}.json is not the one that custody.jsonl logged"


def custody_events(case: Case) -> list[dict[str, Any]]:
    """Return the lines of custody.jsonl."""
    lines = (case.data / "custody.jsonl").read_bytes().splitlines()
    return [json.loads(line) for line in lines]
