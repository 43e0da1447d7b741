"""What a sealed case says of itself: what certificates and exports are filled from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.bundle.bag import manifest_digest
from auditor.bundle.evidence import FILE
from auditor.bundle.signature import FOLDER, unchanged_payload
from auditor.case import Case
from auditor.report.words import reading_sentence
from auditor.stored import chained_lines
from auditor.withheld import redaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a sealed case says of itself."""

    folder: str
    case_id: str
    manifest: str
    """SHA-256 of the payload manifest, hex."""
    sealed: str
    """UTC time."""
    tool: dict[str, Any]
    files: int
    octets: int
    subjects: list[dict[str, Any]]
    suites: list[dict[str, Any]]
    environment: dict[str, Any]
    custody: list[dict[str, Any]]
    """First and last event of each kind, in order."""
    attempts: int
    unanswered: int
    """Lines of errors.jsonl: refusals, failures, retries, exclusions."""
    statistics: int
    undefined: int
    readings: list[tuple[str, str, dict[str, Any]]]
    """(name, sentence, conclusion) of each suspect."""
    deviations: list[Any] | None
    """None where no plan was locked beforehand."""
    signatures: list[str]
    redacted: str | None = None
    """What a redacted copy does not show, and of which case it is one."""


def facts(root: Path) -> Facts:
    """Return the facts of a sealed case, after reading every file.

    Raises:
        CaseError: the folder is not a sealed case, or is not as it was sealed.
    """
    digests = unchanged_payload(root)
    case = Case(root)
    evidence, plan = case.read_json(FILE), case.read_json("plan.json")
    rows = [r for one in case.read_json("statistics.json")["suspects"].values() for r in one]
    records = [entry for entry in evidence["files"].values() if entry["role"] == "record"]
    return Facts(
        folder=root.resolve().name,
        case_id=evidence["case_id"],
        manifest=manifest_digest(root),
        sealed=evidence["sealed"],
        tool=evidence["tool"],
        files=len(digests),
        octets=sum((case.data / name).stat().st_size for name in digests),
        subjects=case.read_json("subjects.json")["subjects"],
        suites=plan["suites"],
        environment=case.read_json("environment.json"),
        custody=list(_events(case)),
        attempts=sum(entry["lines"] for entry in records),
        unanswered=_line_count(case.data / "errors.jsonl"),
        statistics=len(rows),
        undefined=sum(row["undefined"] is not None for row in rows),
        readings=list(_readings(case, plan)),
        deviations=case.read_json("deviations.json")["deviations"] if "declared" in plan else None,
        redacted=_redacted(case, evidence),
        signatures=sorted(path.name for path in (root / FOLDER).glob("*.json")),
    )


def _events(case: Case) -> Iterator[dict[str, Any]]:
    """Yield the first and the last event of each kind of the custody log, in order."""
    rows = [row for _, row in chained_lines(case.data / "custody.jsonl")]
    first = {row["event"]: row["seq"] for row in reversed(rows)}
    last = {row["event"]: row["seq"] for row in rows}
    kept = {*first.values(), *last.values()}
    yield from (row for row in rows if row["seq"] in kept)


def _redacted(case: Case, evidence: dict[str, Any]) -> str | None:
    stated = redaction(case)
    if stated is None:
        return None
    lines, files = stated["lines"], len(stated["files"])
    return (
        f"{lines['withheld']} of {lines['total']} record lines and {files} files withheld, of the "
        f"case whose manifest-sha256.txt has the SHA-256 {evidence['parent']}"
    )


def _line_count(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def _readings(case: Case, plan: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    reference = plan["subjects"][0]["name"]
    for suspect, conclusion in case.read_json("conclusion.json")["suspects"].items():
        yield suspect, reading_sentence(conclusion, suspect, reference), conclusion
