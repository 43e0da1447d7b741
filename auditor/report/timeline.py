"""The time line of a sealed case, from its custody log.

Only a sealed case has one: its log is closed, so that the same files give the same page. The log of
a case that is still open grows whenever it is touched.
"""

import json
from datetime import UTC, datetime
from typing import Any

from auditor.case import Case
from auditor.report.canvas import ACCENT, GRID, SMALL, SOFT, WIDTH, Canvas, Scale
from auditor.report.plates import Plate, Table
from auditor.report.svg import labelled
from auditor.report.words import counted, number

_TITLES = {
    "collecting": "Plan fixed, start",
    "subject": "Model identified",
    "records": "Replies written",
    "crossing": "Replies scored",
    "collected": "Model done",
    "cut": "Torn line cut",
    "seal": "Sealed",
}
_ROW, _TOP, _AXIS, _LEFT, _RIGHT = 24.0, 10.0, 36.0, 128.0, 12.0
Row = dict[str, Any]


def custody_spans(case: Case) -> list[Row] | None:
    """Return ``{event, count, first, last}`` of each kind of event; None where it is not sealed."""
    path = case.data / "custody.jsonl"
    if not path.is_file():
        return None
    events = [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    if not events or events[-1].get("event") != "seal":
        return None
    spans: dict[str, Row] = {}
    for event in events:
        row = spans.setdefault(
            event["event"], {"event": event["event"], "count": 0, "first": event["time"]}
        )
        row["count"] += 1
        row["last"] = event["time"]
    return list(spans.values())


def timeline_plate(spans: list[Row]) -> Plate:
    """Return the figure of the events of a sealed case."""
    said = "; ".join(f"{_title(row)} {_reach(row)}" for row in spans)
    return Plate(
        svg=labelled(_drawn(spans), f"Time line. {said}."),
        title="Time line",
        caption=(
            "From the hash-chained custody log, by the clock of the machine that wrote it; a time "
            "stamp of a third party, where the case has one, bounds it. Dot: one event; bar: from "
            "the first to the last of its kind. Each event with its time is in custody.jsonl."
        ),
        table=Table(
            columns=("Event", "Number", "First (UTC)", "Last (UTC)"),
            rows=tuple(
                (_title(row), str(row["count"]), _utc(row["first"]), _utc(row["last"]))
                for row in spans
            ),
        ),
    )


def _title(row: Row) -> str:
    event: str = row["event"]
    return _TITLES.get(event, event)


def _reach(row: Row) -> str:
    first, last = _utc(row["first"]), _utc(row["last"])
    return first if first == last else f"{first} to {last}"


def _utc(time: str) -> str:
    return _at(time).strftime("%Y-%m-%d %H:%M:%S")


def _at(time: str) -> datetime:
    return datetime.fromisoformat(time).astimezone(UTC)


def _drawn(spans: list[Row]) -> str:
    canvas = Canvas(_TOP + _ROW * len(spans) + _AXIS)
    start = min(_at(row["first"]) for row in spans)
    length = max((_at(row["last"]) - start).total_seconds() for row in spans)
    scale = Scale((0.0, length or 1.0), (_LEFT, WIDTH - _RIGHT))
    bottom = _TOP + _ROW * len(spans)
    for index, row in enumerate(spans):
        y = _TOP + _ROW * (index + 0.5)
        canvas.text((0, y + 4), _title(row))
        canvas.line((_LEFT, y), (WIDTH - _RIGHT, y), GRID)
        first, last = (scale((_at(row[end]) - start).total_seconds()) for end in ("first", "last"))
        canvas.line((first, y), (last, y), ACCENT, 5)
        for x in dict.fromkeys((first, last)):
            canvas.dot((x, y), 4.5, ACCENT)
    canvas.text((_LEFT, bottom + 14), _utc(spans[0]["first"]), size=SMALL, colour=SOFT)
    end = (WIDTH - _RIGHT, bottom + 14)
    canvas.text(end, f"+ {_duration(length)}", anchor="end", size=SMALL, colour=SOFT)
    canvas.text((_LEFT, bottom + 28), "UTC", size=SMALL, colour=SOFT)
    return canvas.svg()


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{number(seconds / size, 2)} {unit}s"
    return counted(round(seconds), "second")
