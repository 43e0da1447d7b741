"""One record line with its path to the Merkle root that the index of a sealed case holds.

Anybody can check it with SHA-256 alone (RFC 9162, section 2.1.3.2): the leaf is SHA-256 of a zero
byte and the line; a node is SHA-256 of a one byte, its left and its right child. The root stands in
data/evidence.json, whose digest stands in manifest-sha256.txt, which a signature covers.
"""

from pathlib import Path
from typing import Any

from auditor.bundle.bag import manifest_digest
from auditor.bundle.evidence import FILE
from auditor.bundle.rules import single_record
from auditor.bundle.signature import unchanged_payload
from auditor.canon import leaf_hash
from auditor.case import Case
from auditor.errors import CaseError
from auditor.merkle import inclusion_path
from auditor.stored import chained_lines
from auditor.withheld import withheld_lines

SCHEMA = "auditor/line-proof/1"


def line_proof(root: Path, record: str) -> dict[str, Any]:
    """Return the proof of one line of a sealed case, after reading every file.

    Args:
        root: of the case; a redacted one proves its shown lines.
        record: ``SUBJECT/SUITE@VERSION#SEQ``.

    Raises:
        CaseError: no sealed case, changed since the seal, or no such line is shown.
    """
    digests = unchanged_payload(root)
    case, (name, number) = Case(root), single_record(record)
    entry = case.read_json(FILE)["files"].get(name)
    if entry is None or not number < entry["lines"]:
        raise CaseError(f"{root} has no record {record}", hint="`seq` counts from 0 in each file")
    hidden = withheld_lines(case).get(name, {})
    if number in hidden:
        raise CaseError(f"record {record} is withheld", hint="ask who holds the original")
    lines = [line for line, _ in chained_lines(case.data / name, hidden)]
    leaves = [hidden.get(place) or leaf_hash(line) for place, line in enumerate(lines)]
    return {
        "schema": SCHEMA,
        "file": name,
        "index": number,
        "size": len(leaves),
        "line": lines[number].decode(),
        "leaf": leaves[number],
        "path": inclusion_path(leaves, number),
        "merkle_root": entry["merkle_root"],
        "evidence_sha256": digests[FILE],
        "manifest_sha256": manifest_digest(root),
    }
