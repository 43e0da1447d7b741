"""What a case lacks before it may be sealed: nothing that was planned is silently missing."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from auditor.bundle.planned_replies import planned_replies
from auditor.bundle.scan import NOTHING, Scanned
from auditor.case import Case
from auditor.errors import CaseError
from auditor.exchanges import exchange_path, failed_attempts
from auditor.failed import standing
from auditor.stored import iterate_records
from auditor.watched import FILE as WATCH
from auditor.withheld import redaction, withheld_names

_STAGES = {
    "subjects.json": "collect",
    "environment.json": "collect",
    "errors.jsonl": "collect",
    "custody.jsonl": "collect",
    "statistics.json": "measure",
    "conclusion.json": "judge",
}
"""Files that every case has in the end, and the command that writes them."""
_REQUEST = ("subject", "suite", "probe_id", "repeat", "attempt")
_COMMIT = re.compile(r"@[0-9a-f]{40}$")


def check_complete(case: Case, scanned: Mapping[str, Scanned] = NOTHING) -> None:
    """Refuse a case that lacks something.

    Args:
        case: finished.
        scanned: what is known of its files; the records of any other file are read.

    Raises:
        CaseError: a stage has not ended, a planned reply is neither there nor in errors.jsonl,
            something unplanned is there, or a hub model is not pinned to a commit.
    """
    plan = case.read_json("plan.json")
    for name, stage in _expected(plan, standing(case)):
        if not (case.data / name).is_file() and name not in withheld_names(case):
            raise CaseError(
                f"the case is incomplete: data/{name} is missing",
                hint=f"`auditor {stage} {case.root}` writes it",
            )
    _check_pinned(plan)
    _check_replies(case, plan, scanned)


def _expected(plan: dict[str, Any], subjects: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    yield from _STAGES.items()
    for subject in subjects:
        yield f"collected/{subject['name']}.json", "collect"
    if plan.get("marks"):
        yield "marks.json", "collect"
    if plan.get("watch") is not None:
        yield WATCH, "collect"
    if plan.get("declared") is not None:
        yield "deviations.json", "judge"


def _check_pinned(plan: dict[str, Any]) -> None:
    for subject in plan["subjects"]:
        spec = subject["spec"]
        if spec.startswith("hf:") and not _COMMIT.search(spec):
            raise CaseError(
                f"{spec} is not pinned: a branch or a tag of a hub can be moved",
                hint="audit hf:org/name@COMMIT with the 40 hex digits of a commit",
            )


def _check_replies(case: Case, plan: dict[str, Any], scanned: Mapping[str, Scanned]) -> None:
    """Compare the planned replies with the records, and the failed ones with errors.jsonl."""
    names = [subject["name"] for subject in standing(case)]
    records = case.data / "records"
    planned = {
        f"{name}/{suite['name']}@{suite['version']}.jsonl"
        for name in names
        for suite in plan["suites"]
    }
    found = {p.relative_to(records).as_posix() for p in records.rglob("*") if p.is_file()}
    if found - planned:
        raise CaseError(f"records/{min(found - planned)} was not planned", hint=_EXTRA)
    failed: dict[tuple[Any, ...], Any] = {}
    hidden: set[tuple[Any, ...]] = set()
    for name in names:
        _add_failed(case, name, scanned, failed, hidden)
    rows = _listed_rows(case)
    # A row of an attempt names its line in the exchange log; the others are of planned replies.
    attempts = [row for name in names for row in failed_attempts(case, name)]
    unseen = _withheld_logs(case, names)
    found_attempts = [row for row in rows if "exchange" in row and row["subject"] not in unseen]
    listed = _errors_of([row for row in rows if "exchange" not in row])
    shown = {request: row["error"] for request, row in listed.items() if "withheld" not in row}
    # Of a withheld reply it is only said whether it failed, not how.
    bare = all(
        request[:-1] in hidden and listed[request]["error"] is None
        for request in listed.keys() - shown.keys()
    )
    if failed != shown or not bare or found_attempts != attempts:
        raise CaseError(
            "errors.jsonl does not list exactly the replies that failed",
            hint="restore the file: `auditor collect` wrote it",
        )


def _add_failed(
    case: Case,
    subject: str,
    scanned: Mapping[str, Scanned],
    failed: dict[tuple[Any, ...], Any],
    hidden: set[tuple[Any, ...]],
) -> None:
    """Add the records of a subject that hold no reply, and those that are not shown."""
    known = planned_replies(case, subject, scanned)
    if known is not None:
        for replies in known:
            failed |= replies.failed.items()
        return
    for record in iterate_records(case, subject):
        if record["outcome"] == "error":
            failed[tuple(record[key] for key in _REQUEST)] = record["error"]
        elif record["outcome"] == "withheld":
            hidden.add(tuple(record[key] for key in _REQUEST[:-1]))


def _withheld_logs(case: Case, names: list[str]) -> set[str]:
    """Return the subjects of a redacted case whose exchange log is not there to compare with."""
    if redaction(case) is None:
        return set()
    return {name for name in names if not exchange_path(case, name).is_file()}


_EXTRA = "take it out of the case, or plan it"


def _listed_rows(case: Case) -> list[dict[str, Any]]:
    lines = (case.data / "errors.jsonl").read_bytes().splitlines()
    try:
        rows = [json.loads(line) for line in lines]
        return [dict(row) for row in rows]
    except (ValueError, TypeError) as error:
        raise CaseError(f"errors.jsonl cannot be read: {error}") from error


def _errors_of(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    try:
        return {tuple(row[key] for key in _REQUEST): {"error": None, **row} for row in rows}
    except KeyError as error:
        raise CaseError(f"errors.jsonl cannot be read: {error} is missing") from error
