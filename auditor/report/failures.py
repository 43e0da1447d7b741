"""What was asked and not answered, what was left out of a measure, and the standing limitations."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from auditor.case import Case
from auditor.errors import CaseError
from auditor.report.findings import Findings
from auditor.report.parts import Grid, Part
from auditor.report.words import counted

MOST_SHOWN = 20
"""Kinds of failure, and exclusions, in a report; errors.jsonl has all."""
_MESSAGE = 300
"""Characters of a message of a server that are shown."""
STANDING = (
    "A likelihood ratio that is computed from scores approximates the one from all data, and can "
    "differ from it even in direction (Garton and others 2020; Neumann and Ausdemore 2019).",
    "The population of controls was chosen by whoever planned the audit; another population can "
    "give another ratio.",
    "A model behind an interface can be changed without notice: what was observed is what "
    "answered at that time.",
    "No support for a link is not support for its absence, unless the power says so.",
    "Ratios and words are capped by the number of control families; with few families strong "
    "words are out of reach, whatever the truth.",
    "A seal shows that files are unchanged since it was made. It does not show that what was "
    "collected is true: collecting again (auditor reproduce) does.",
)


def _message(row: Mapping[str, Any]) -> str:
    """Return why a request failed; a redacted case does not say it of a withheld one."""
    return "(withheld)" if row["withheld"] else str(row["error"])[:_MESSAGE]


def failures_part(findings: Findings) -> Part:
    """Return failed requests by subject and message, and what is excluded with its reason."""
    rows = list(failed_requests(findings.case))
    kinds = Counter((row["subject"], _message(row)) for row in rows)
    first = {(r["subject"], _message(r)): r["probe_id"] for r in reversed(rows)}
    shown = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))[:MOST_SHOWN]
    grids = [
        Grid(
            caption="Requests without a reply, by subject and message",
            columns=("Subject", "Requests", "First of them, probe", "Message"),
            rows=tuple((key[0], str(count), first[key], key[1]) for key, count in shown),
        )
    ]
    excluded = list(_exclusions(findings))
    grids.append(
        Grid(
            caption="What enters no measure, or no number, and why",
            columns=("What", "Reason"),
            rows=tuple(excluded[:MOST_SHOWN]),
        )
    )
    return Part(
        key="failures",
        title="Failed requests and exclusions",
        paragraphs=(_sentence(findings, len(rows), len(kinds)),),
        grids=tuple(grid for grid in grids if grid.rows),
        closing=tuple(_more(len(excluded) - MOST_SHOWN)),
    )


def failed_requests(case: Case) -> Iterator[dict[str, Any]]:
    """Yield the entries of errors.jsonl; none where a case has no such file yet.

    Raises:
        CaseError: a line is no JSON object.
    """
    path = case.data / "errors.jsonl"
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                shown = {key: row[key] for key in ("subject", "probe_id", "error")}
                yield {**shown, "withheld": row.get("withheld", False)}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CaseError(
                    f"errors.jsonl, line {number} cannot be read: {error}",
                    hint="restore the file: `auditor collect` wrote it",
                ) from error


def _sentence(findings: Findings, failed: int, kinds: int) -> str:
    subjects = (findings.reference, findings.suspect, *findings.controls)
    asked = sum(sum(subject.outcomes.values()) for subject in subjects)
    if not failed:
        return f"None of {counted(asked, 'request')} to the models of this report failed."
    shown = "" if kinds <= MOST_SHOWN else f" The {MOST_SHOWN} most frequent kinds are shown."
    return (
        f"{counted(failed, 'request')} of the case failed. They are kept in errors.jsonl and enter "
        f"no measure.{shown}"
    )


def _exclusions(findings: Findings) -> Iterator[tuple[str, str]]:
    for row in findings.rows:
        if row.undefined is not None:
            yield f"{row.title} ({row.id})", row.undefined
    lacking: dict[tuple[str, str], list[str]] = {}
    for subject in (findings.reference, findings.suspect, *findings.controls):
        for field, reason in sorted(subject.missing.items()):
            lacking.setdefault((field, reason), []).append(subject.name)
    for (field, reason), names in lacking.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{field} of {', '.join(names[:3])}{more}", reason


def _more(count: int) -> Iterator[str]:
    if count > 0:
        yield f"And {count:,} more: see collected/ and statistics.json."
