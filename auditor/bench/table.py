"""The tables that people read, and the object that programs read."""

from dataclasses import asdict
from typing import Any

from auditor.bench.ceilings import Ceilings
from auditor.bench.rows import Row, Timing
from auditor.bench.running import BarResult, Finding

SCHEMA = "auditor/bench/1"
_TIMED = ("time", "quartiles", "x ours", "memory")
_MIB = 1 << 20


def columns(*, timed: bool) -> tuple[str, ...]:
    """Return the heads of the columns; "x ours" is the time over that of our first row."""
    return ("", *(_TIMED if timed else ()), "worst error", "computes")


def cells(row: Row, *, timed: bool) -> tuple[str, ...]:
    """Return a row's cells, in the order of `columns`."""
    if row.status != "ok":
        return (row.name, *[""] * (len(_TIMED) if timed else 0), "", f"{row.reason}")
    return (row.name, *(_measured(row) if timed else ()), _error(row), row.computes)


def _measured(row: Row) -> tuple[str, ...]:
    return (
        "" if row.timing is None else duration(row.timing.median),
        "" if row.timing is None else _quartiles(row.timing),
        "" if row.ratio is None else f"{row.ratio:.3g}",
        _memory(row),
    )


def _quartiles(timing: Timing) -> str:
    if timing.runs == 1:
        return "1 run"
    return f"{duration(timing.quartile1)} .. {duration(timing.quartile3)}"


def _memory(row: Row) -> str:
    if row.extra_bytes is None:
        return "unknown" if row.memory_reason else ""
    return f"{row.extra_bytes / _MIB:.4g} MiB"


def _error(row: Row) -> str:
    if row.worst is None:
        return "not comparable"
    name, size = row.worst
    parts = [f"{size:.1e} {name}"]
    wrong = sum(row.mismatches.values())
    if wrong:
        parts.append(f"{wrong} integers differ")
    if row.negative:
        parts.append(f"{row.negative} negative")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds with a unit and three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1.0:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def bar_line(result: BarResult) -> str:
    """Return one line on a bar."""
    if result.value is None:
        return f"bar not measured ({result.reason}): {result.bar.text}"
    word = "met" if result.met else "NOT MET"
    return f"bar {word}: {result.bar.text}; limit {result.bar.limit:.3g}, found {result.value:.3g}"


def heading(finding: Finding) -> str:
    """Return the line above a table."""
    shape = " ".join(f"{name}={size:,}" for name, size in finding.shape.items())
    return f"{finding.case} {finding.key}: {finding.title} ({shape})"


def as_json(
    environment: dict[str, Any], ceilings: Ceilings, results: list[Finding], *, small: bool
) -> dict[str, Any]:
    """Return the object of schema auditor/bench/1: bytes, seconds, ratios; null is unknown."""
    return {
        "schema": SCHEMA,
        "small": small,
        "environment": environment,
        "ceilings": asdict(ceilings),
        "experiments": [
            {
                "case": finding.case,
                "key": finding.key,
                "title": finding.title,
                "shape": dict(finding.shape),
                "rows": [_row_json(row) for row in finding.rows],
                "bars": [_bar_json(result) for result in finding.bars],
            }
            for finding in results
        ],
    }


def _row_json(row: Row) -> dict[str, Any]:
    errors = {name: size if size < float("inf") else None for name, size in row.errors.items()}
    return {**asdict(row), "errors": errors}


def _bar_json(result: BarResult) -> dict[str, Any]:
    finite = result.value is not None and result.value < float("inf")
    return {
        "text": result.bar.text,
        "limit": result.bar.limit,
        "at_least": result.bar.at_least,
        "value": result.value if finite else None,
        "met": result.met,
        "reason": result.reason,
    }
