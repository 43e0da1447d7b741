"""The heat map of how the lines go together inside each class of controls."""

from typing import Any

from auditor.report.canvas import ACCENT, GRID, INK, SMALL, SOFT, Canvas
from auditor.report.judged_words import CLASS_TITLES, NOT_MULTIPLIED, line_title
from auditor.report.plates import Plate, Table
from auditor.report.svg import labelled
from auditor.report.words import counted, number

_HEAD, _CELL, _WIDE, _LEFT, _GAP = 40.0, 26.0, 58.0, 128.0, 16.0
Row = dict[str, Any]


def correlation_plate(dependence: list[Row]) -> Plate | None:
    """Return the correlation of the scores within each class; None where there is one score."""
    known = [one for one in dependence if one["correlation"] is not None]
    if not known or len(known[0]["scores"]) < 2:
        return None
    missing = " ".join(
        f"{CLASS_TITLES[one['class']]}: undefined, {one['undefined']}."
        for one in dependence
        if one["correlation"] is None
    )
    return Plate(
        svg=labelled(_drawn(known), _alt(known)),
        title="How the lines go together",
        caption=(
            "Correlation of two lines between the families of one class of controls: over all "
            "controls any two useful lines correlate, because both tell the classes apart, and "
            "that is no dependence. A stronger colour is a stronger correlation; the sign is in "
            "the number. "
            f"{_worth(known)} {NOT_MULTIPLIED} {missing}".strip()
        ),
        table=_table(dependence),
    )


def _worth(known: list[Row]) -> str:
    parts = [f"{CLASS_TITLES[one['class']].lower()} {one['effective_lines']:.1f}" for one in known]
    count = counted(len(known[0]["scores"]), "line")
    return f"So many independent lines are the {count} worth: {', '.join(parts)}."


def _drawn(known: list[Row]) -> str:
    size = len(known[0]["scores"])
    panel = _HEAD + _CELL * size
    canvas = Canvas((panel + _GAP) * len(known) - _GAP)
    for index, one in enumerate(known):
        _matrix(canvas, index * (panel + _GAP), one)
    return canvas.svg()


def _matrix(canvas: Canvas, top: float, one: Row) -> None:
    families = counted(one["families"], "family", "families")
    worth = f"{one['effective_lines']:.1f}"
    canvas.text((0, top + 13), f"{CLASS_TITLES[one['class']]} ({families})")
    canvas.text((canvas.width, top + 13), f"worth {worth} lines", anchor="end", colour=SOFT)
    for row, name in enumerate(one["scores"]):
        y = top + _HEAD + _CELL * row
        canvas.text((0, y + 17), f"{row + 1}  {line_title(name)}")
        canvas.text(
            (_LEFT + _WIDE * (row + 0.5), top + _HEAD - 6),
            str(row + 1),
            anchor="middle",
            size=SMALL,
            colour=SOFT,
        )
        for column in range(row + 1):
            _cell(canvas, (_LEFT + _WIDE * column, y), one["correlation"][row][column])


def _cell(canvas: Canvas, corner: tuple[float, float], value: float) -> None:
    x, y = corner
    # At most half opaque, so that the number stays readable on it in both colour schemes.
    size = (_WIDE - 2, _CELL - 2)
    canvas.box(corner, size, ACCENT, stroke=GRID, opacity=0.5 * min(abs(value), 1.0))
    place = (x + _WIDE / 2 - 1, y + 17)
    canvas.text(place, number(round(value, 2), 2), anchor="middle", size=SMALL, colour=INK)


def _alt(known: list[Row]) -> str:
    said = []
    for one in known:
        names = one["scores"]
        cells = [
            f"{line_title(names[i])} and {line_title(names[j])} "
            f"{number(round(one['correlation'][i][j], 2), 2)}"
            for i in range(len(names))
            for j in range(i)
        ]
        said.append(f"{CLASS_TITLES[one['class']]}: {', '.join(cells)}.")
    return f"Heat map of correlations. {' '.join(said)}"


def _table(dependence: list[Row]) -> Table:
    names = dependence[0]["scores"]
    rows: list[tuple[str | float, ...]] = []
    for one in dependence:
        title = CLASS_TITLES[one["class"]]
        if one["correlation"] is None:
            reason = f"undefined: {one['undefined']}"
            rows.append((title, reason, *("",) * (len(names) - 1), one["families"], ""))
            continue
        for name, values in zip(names, one["correlation"], strict=True):
            head = f"{title}: {line_title(name)}"
            rows.append((head, *values, one["families"], one["effective_lines"]))
    columns = ("Controls and line", *map(line_title, names), "Families", "Worth independent lines")
    return Table(columns=columns, rows=tuple(rows))
