"""A redacted case against the original that it was derived from: part of V05, V07, V08 and V10.

The original's payload manifest is bound by its digest in evidence.json and by the original's
signatures. It lists the original's index, and that lists every file, and of every record file the
Merkle root, the number of lines and the last line.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.bundle.bag import MANIFEST
from auditor.bundle.evidence import FILE
from auditor.bundle.scan import Scanned
from auditor.bundle.withholding import Hidden, hidden, may_tell
from auditor.case import Case
from auditor.errors import CaseError
from auditor.withheld import PARENT, REDACTION, redaction, rows_resting_on, withheld_names

_LEFT_OUT = ("array", "marks", "exchanges", "watch")
_REWRITTEN = ("report", "errors")
_TREE = ("lines", "merkle_root", "last")


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What a redacted case keeps of the original."""

    manifest: str
    """SHA-256 of its payload manifest, hex."""
    digests: dict[str, str]
    """Path below its data/ -> SHA-256, hex, of every file, as its manifest lists them."""
    evidence: dict[str, Any]
    """Its evidence.json."""


def original(root: Path) -> Original | None:
    """Return the original of a redacted case; None where the case is no copy.

    Raises:
        CaseError: the case says that it has an original, and keeps no manifest or index of it.
    """
    case = Case(root)
    if case.read_json(FILE)["parent"] is None:
        return None
    manifest = case.data / PARENT / MANIFEST
    if not manifest.is_file():
        raise CaseError(f"data/{PARENT}/{MANIFEST} is missing: nothing shows what was redacted")
    content = manifest.read_bytes()
    pairs = [line.partition("  ") for line in content.decode("utf-8").splitlines()]
    return Original(
        manifest=hashlib.sha256(content).hexdigest(),
        digests={name.removeprefix("data/"): digest for digest, _, name in pairs},
        evidence=case.read_json(f"{PARENT}/{FILE}"),
    )


def origin_files(case: Case) -> Mapping[str, Mapping[str, Any]]:
    """Return ``files`` of the index under which everything was collected: the original's."""
    found = original(case.root)
    index = case.read_json(FILE) if found is None else found.evidence
    files: Mapping[str, Mapping[str, Any]] = index["files"]
    return files


def proof_faults(case: Case, scanned: Mapping[str, Scanned]) -> Iterator[str]:
    """Yield where shown lines and files are not proved to be the original's (V07)."""
    index = case.read_json(FILE)
    for name, found in scanned.items():
        yield from _line_faults(name, found, index)
    for name in sorted(index["withheld"]):
        if f"data/{name}" not in scanned:
            yield f"{FILE} withholds lines of data/{name}, which is not there"
    source = original(case.root)
    if source is None:
        kept = {f"data/{REDACTION}"} | {n for n in scanned if n.startswith(f"data/{PARENT}/")}
        yield from (f"{name} is there without an original" for name in sorted(kept & set(scanned)))
        return
    yield from _original_faults(case, source, scanned, index["parent"])
    yield from _file_faults(case, source)


def _line_faults(name: str, found: Scanned, index: Mapping[str, Any]) -> Iterator[str]:
    inside = name.removeprefix("data/")
    stated = index["withheld"].get(inside, {})
    if {str(number): leaf for number, leaf in found.withheld.items()} != stated:
        yield f"{name}: other lines are withheld than {FILE} says"
    if found.withheld and (index["parent"] is None or not inside.startswith("records/")):
        yield f"{name}: lines are withheld from a file of which all lines must be shown"


def _original_faults(
    case: Case, source: Original, scanned: Mapping[str, Scanned], parent: str
) -> Iterator[str]:
    """Yield where the kept manifest and index are not those of one sealed case."""
    if source.manifest != parent:
        yield f"data/{PARENT}/{MANIFEST} is not the one that {FILE} names as its parent"
    kept = scanned.get(f"data/{PARENT}/{FILE}")
    listed = {name: entry["sha256"] for name, entry in source.evidence["files"].items()}
    if kept is None or source.digests != {**listed, FILE: kept.sha256}:
        yield f"data/{PARENT}/{FILE} is not the index that data/{PARENT}/{MANIFEST} lists"
    if source.evidence["case_id"] != case.read_json(FILE)["case_id"]:
        yield f"data/{PARENT}/{FILE} is of another case"
    if source.evidence["parent"] is not None or source.evidence["withheld"]:
        yield f"data/{PARENT}/{FILE} is itself of a redacted case"


def _file_faults(case: Case, source: Original) -> Iterator[str]:
    """Yield the files that are neither the original's nor what a redaction may change in them."""
    index, listed = case.read_json(FILE), source.evidence["files"]
    rewritten = (redaction(case) or {}).get("rewritten", {})
    for name in sorted(index["files"].keys() & listed.keys()):
        own, old = index["files"][name], listed[name]
        if name in index["withheld"]:
            if [own.get(key) for key in _TREE] != [old.get(key) for key in _TREE]:
                yield f"data/{name} does not give the Merkle root of the original"
        elif name in rewritten:
            if old["role"] not in _REWRITTEN or rewritten[name] != old["sha256"]:
                yield f"data/{name} is not a file that a redaction writes anew"
        elif own["sha256"] != old["sha256"]:
            yield f"data/{name} is not the file of the original"


def absence_faults(case: Case) -> Iterator[str]:
    """Yield what of the original is neither shown nor listed as withheld, and what is added (V08).

    Numbers of redaction.json are counted again.
    """
    source, stated = original(case.root), redaction(case)
    if source is None:
        return
    if stated is None:
        yield f"data/{REDACTION} is missing: nothing says what is withheld"
        return
    index, listed = case.read_json(FILE), source.evidence["files"]
    shown, told = index["files"], hidden(case, index["withheld"])
    for name in sorted(listed.keys() - shown.keys()):
        yield from _absent_faults(name, listed[name], stated["files"].get(name), told)
    for name in sorted(stated["files"].keys() - (listed.keys() - shown.keys())):
        yield f"{REDACTION} lists {name} as withheld, which is shown or was never there"
    for name in sorted(shown.keys() - listed.keys()):
        if name != REDACTION and not name.startswith(f"{PARENT}/"):
            yield f"data/{name} is not in the original"
    yield from _count_faults(case, stated, listed)


def _absent_faults(
    name: str, old: Mapping[str, Any], entry: Mapping[str, Any] | None, told: Hidden
) -> Iterator[str]:
    """Yield what is wrong with a file of the original, `old` in its index, that is not shown."""
    if entry is None:
        yield f"data/{name} of the original is neither shown nor listed as withheld"
    elif (entry["sha256"], entry["bytes"]) != (old["sha256"], old["bytes"]):
        yield f"{REDACTION} gives another digest or length of {name} than the original's index"
    elif old["role"] not in _LEFT_OUT or not may_tell(name, told):
        yield f"data/{name} is withheld, and tells of no withheld reply"


def _count_faults(
    case: Case, stated: Mapping[str, Any], listed: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    lines = {
        "withheld": sum(len(one) for one in case.read_json(FILE)["withheld"].values()),
        "total": sum(entry["lines"] for entry in listed.values() if entry["role"] == "record"),
    }
    if stated["lines"] != lines:
        yield f"{REDACTION} counts other lines than {lines['withheld']} of {lines['total']}"


def statistic_faults(case: Case) -> Iterator[str]:
    """Yield where redaction.json names other statistics as resting on what is withheld (V10)."""
    stated = redaction(case)
    if stated is None:
        return
    subjects = case.read_json("plan.json")["subjects"]
    controls = [s["name"] for s in subjects if s["role"] not in ("reference", "suspect")]
    wanted = rows_resting_on(case.read_json("statistics.json"), controls, withheld_names(case))
    if stated["statistics"] != wanted:
        yield f"{REDACTION} names other statistics than those that rest on what is withheld"
