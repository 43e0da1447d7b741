"""The tornado: what happens to the finding when one thing at a time is left out."""

import math
from collections.abc import Callable
from typing import Any

from auditor.report.axes import round_ticks
from auditor.report.canvas import (
    ACCENT,
    GRID,
    INK,
    SMALL,
    SOFT,
    WIDTH,
    Canvas,
    Scale,
    shortened,
)
from auditor.report.judged_words import PAIR_TITLES, line_title, ratio, test_title
from auditor.report.plates import Plate, Table
from auditor.report.svg import labelled
from auditor.report.words import counted, number

_ROW, _HEAD, _TOP, _AXIS = 19.0, 24.0, 26.0, 36.0
_LEFT, _RIGHT = 152.0, 46.0
_MOST = 4
"""Bars of one kind: those that move the finding most. The table has all."""
_LEAST_SPAN = 0.6
"""Of the axis: log10 of a ratio, or z."""
_KINDS = {
    "group": "Without one line",
    "control-family": "Without one control family",
    "category": "Without one probe category",
}
Row = dict[str, Any]
Value = Callable[[Row], float | None]


def tornado_plate(robustness: Row, pair: str) -> Plate | None:
    """Return the figure: the likelihood ratio of `pair`, or the first decisive test without one.

    None where neither has a value, or nothing could be left out.
    """
    base = robustness["base"]
    ratios = base["log10_lr"] is not None and pair in base["log10_lr"]
    tests = [name for name in base["tests"] if base["tests"][name]["z"] is not None]
    if not robustness["rows"] or not (ratios or tests):
        return None
    test = tests[0] if tests else ""
    value: Value = _ratio_of(pair) if ratios else _z_of(test)
    rows = [row for row in robustness["rows"] if value(row) is not None]
    if not rows:
        return None
    what = PAIR_TITLES[pair] if ratios else f"{test_title(test)}, z"
    label = ratio if ratios else number
    start = value(base) or 0.0
    said = f"{what}, {label(start)} with everything"
    reach = _ends(rows, value, label)
    folds = f" {_folds(robustness, pair)}" if ratios else ""
    return Plate(
        svg=labelled(
            _drawn(_largest(rows, value, start), value, start, label, what),
            f"Tornado chart. {said}. {reach}",
        ),
        title="What the finding becomes without one thing",
        caption=(
            f"{said} (vertical line), and what it becomes when one thing is left out. Drawn: of "
            f"each kind those that change it most, at most {_MOST}. {reach}{folds} Control "
            "families: the suspect's own value is kept and its place taken among the rest. "
            "One thing at a time: nothing is said of two left out together."
            + (_capped() if ratios else "")
        ),
        table=_table(robustness),
    )


def _capped() -> str:
    return " A ratio at its cap may stay there although the findings weaken."


def _ratio_of(pair: str) -> Value:
    return lambda row: None if row["log10_lr"] is None else row["log10_lr"].get(pair)


def _z_of(test: str) -> Value:
    return lambda row: row["tests"].get(test, {}).get("z")


def _largest(rows: list[Row], value: Value, base: float) -> dict[str, list[Row]]:
    """Return the rows to draw, by kind, the largest change first."""

    def change(row: Row) -> tuple[float, str]:
        return -abs((value(row) or 0.0) - base), row["dropped"]

    found = {}
    for kind in _KINDS:
        own = sorted((row for row in rows if row["kind"] == kind), key=change)
        moved = [row for row in own if change(row)[0] < -1e-9]
        if moved:
            found[kind] = moved[:_MOST]
        elif own:
            found[kind] = [{**own[0], "dropped": f"any of {len(own)}"}]
    return found


def _ends(rows: list[Row], value: Value, label: Callable[[float], str]) -> str:
    parts = []
    for kind, title in _KINDS.items():
        values = [value(row) or 0.0 for row in rows if row["kind"] == kind]
        if values:
            low, high = label(min(values)), label(max(values))
            reach = low if low == high else f"{low} to {high}"
            parts.append(f"{title.lower()} {reach} ({counted(len(values), 'case')})")
    return f"Range: {'; '.join(parts)}."


def _folds(robustness: Row, pair: str) -> str:
    found = robustness["calibration"]
    if found is None:
        return ""
    low, high = (ratio(found["pairs"][pair][key]) for key in ("lowest", "highest"))
    families = counted(found["families"], "family", "families")
    reach = low if low == high else f"{low} to {high}"
    return f"Without any one of the {families} that the fusion was fitted to: {reach}."


def _drawn(
    kinds: dict[str, list[Row]],
    value: Value,
    base: float,
    label: Callable[[float], str],
    what: str,
) -> str:
    height = _TOP + sum(_HEAD + _ROW * len(rows) for rows in kinds.values()) + _AXIS
    canvas = Canvas(height)
    values = [value(row) or 0.0 for rows in kinds.values() for row in rows]
    scale = _scale([base, *values])
    bottom = height - _AXIS
    for tick in (ratio_ticks if label is ratio else round_ticks)(*scale.values):
        x = scale(tick)
        canvas.line((x, _TOP), (x, bottom), GRID)
        canvas.text((x, bottom + 14), label(tick), anchor="middle", size=SMALL, colour=SOFT)
    canvas.text((0, 13), what, colour=INK)
    y = _TOP
    for kind, rows in kinds.items():
        canvas.text((0, y + 16), _KINDS[kind], size=SMALL, colour=SOFT)
        y += _HEAD
        for row in rows:
            _bar(canvas, scale, y, row, (base, value(row) or 0.0), label)
            y += _ROW
    canvas.line((scale(base), _TOP), (scale(base), bottom), SOFT, 1.4)
    canvas.text(
        (scale(base), bottom + 29), "with everything", anchor="middle", size=SMALL, colour=SOFT
    )
    return canvas.svg()


def ratio_ticks(low: float, high: float) -> list[float]:
    """Return log10 of round ratios in [low, high], at most 5 of them."""
    steps = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), tuple(float(n) for n in range(1, 10)))
    best: list[float] = []
    for sizes in steps:
        found = {
            sign * (power + math.log10(size))
            for power in range(math.ceil(max(abs(low), abs(high))) + 1)
            for size in sizes
            for sign in (1, -1)
        }
        inside = sorted(place for place in found if low <= place <= high)
        if len(inside) > 5 and best:
            break
        best = inside[:: max(1, -(-len(inside) // 5))]
    return best


def _scale(values: list[float]) -> Scale:
    low, high = min(values), max(values)
    # Never so close that a change of no weight looks like one.
    room = max(0.08 * (high - low), (_LEAST_SPAN - (high - low)) / 2)
    return Scale((low - room, high + room), (_LEFT, WIDTH - _RIGHT))


def _bar(
    canvas: Canvas,
    scale: Scale,
    top: float,
    row: Row,
    ends: tuple[float, float],
    label: Callable[[float], str],
) -> None:
    base, found = ends
    canvas.text((8, top + 13), shortened(_name(row), 20))
    start, stop = scale(base), scale(found)
    canvas.box((start, top + 3), (stop - start, _ROW - 7), ACCENT, opacity=0.6)
    canvas.dot((stop, top + 9), 3.5, ACCENT)
    canvas.text((WIDTH, top + 13), label(found), anchor="end", size=SMALL)


def _name(row: Row) -> str:
    dropped: str = row["dropped"]
    return line_title(dropped) if row["kind"] == "group" else dropped


def _table(robustness: Row) -> Table:
    base = robustness["base"]
    tests = list(base["tests"])
    pairs = [pair for pair in PAIR_TITLES if pair in (base["log10_lr"] or {})]
    rows: list[tuple[str | float, ...]] = [_cells("With everything", base, tests, pairs)]
    for row in robustness["rows"]:
        rows.append(_cells(f"{_KINDS[row['kind']]}: {_name(row)}", row, tests, pairs))
    for end, side in (("lowest", "lowest"), ("highest", "highest")):
        found = robustness["calibration"]
        if found is not None:
            ratios = [found["pairs"][pair][end] for pair in pairs]
            head = f"Without one family of the fusion: {side}"
            rows.append((head, *("",) * (2 * len(tests)), *ratios))
    columns = [f"{test_title(t)}: {w}" for t in tests for w in ("z", "predictive p")]
    columns += [f"{PAIR_TITLES[pair]}, log10 LR" for pair in pairs]
    return Table(columns=("Left out", *columns), rows=tuple(rows))


def _cells(head: str, row: Row, tests: list[str], pairs: list[str]) -> tuple[str | float, ...]:
    cells: list[str | float] = [head]
    for test in tests:
        place = row["tests"].get(test, {})
        for key in ("z", "predictive_p"):
            found = place.get(key)
            cells.append("" if found is None else found)
    ratios = row["log10_lr"] or {}
    cells += [ratios.get(pair, "") for pair in pairs]
    return tuple(cells)
