"""What was added to a finished run: a baseline beside it, an audit of its lineage, its cost."""

import json
from pathlib import Path
from typing import Any

from auditor.canon import file_digest
from auditor.errors import CaseError
from auditor.report import words
from auditor.report.plates import Table

Row = dict[str, Any]


def read_added(run: Path, name: str) -> Row | None:
    """Return the content of a file that was added to a run; None where there is none.

    Raises:
        CaseError: it is not JSON, or was made from another run.
    """
    path = run / name
    if not path.is_file():
        return None
    try:
        content: Row = json.loads(path.read_bytes())
        of = content["run"]
    except (ValueError, KeyError, TypeError) as error:
        raise CaseError(f"{path} is malformed: {error!r}", hint="remove it, and repeat") from error
    if of != file_digest(run / "lineage.json"):
        raise CaseError(
            f"{path} was made from another lineage.json", hint="remove it, and repeat its command"
        )
    return content


def cost_facts(cost: Row) -> list[tuple[str, str]]:
    """Return what a run cost, as (name, value)."""
    generated, seconds = cost["teacher_tokens_generated"], cost["seconds"]
    per_token = cost["cache_bytes_per_token"]
    took = ", ".join(f"{stage} {words.number(value, 3)} s" for stage, value in seconds.items())
    only = " (of the process that finished the run; others had begun it)"
    return [
        (
            "Tokens that the teacher wrote",
            "not known" if generated is None else f"{generated:,}",
        ),
        ("Tokens that the teacher scored", f"{cost['teacher_tokens_scored']:,}"),
        ("Tokens that the student was trained on", f"{cost['training_tokens']:,}"),
        (
            "Cache",
            "none" if per_token is None else f"{words.number(per_token, 3)} bytes a token",
        ),
        ("Time", f"{words.number(sum(seconds.values()), 3)} s: {took}"),
        ("Resumed", f"yes{only}" if cost["resumed"] else "no"),
    ]


def lineage_table(found: Row) -> Table | None:
    """Return declared beside measured; None where nothing was measured."""
    declared, measured = found["declared"], found["measured"]
    if measured is None:
        return None
    return Table(
        columns=("", "Declared", "Measured"),
        rows=(
            ("Relation", _declared_relation(declared), measured["reading"]),
            ("Learned from", declared["via"] or "inner states", measured["via"] or "cannot tell"),
            ("Dose of the teacher", _percent(declared["dose"]), _measured_dose(measured)),
            ("Seen for certain from", "", _seen(measured)),
        ),
    )


def _declared_relation(declared: Row) -> str:
    taught = f"imitation by method {declared['method']}" if declared["dose"] > 0 else "no imitation"
    return f"{taught}, from the teacher's weights" if declared["weights"] else taught


def _measured_dose(measured: Row) -> str:
    dose = measured["dose"]
    if dose is None:
        return "not measured"
    low, high = (100 * end for end in dose["interval"])
    return f"{_percent(dose['dose'])}, 95 % interval {words.interval(low, high)} %"


def _seen(measured: Row) -> str:
    return "not known" if measured["power"] is None else _percent(measured["power"]["dose"])


def _percent(share: float) -> str:
    return f"{words.number(100 * share, 3)} %"
