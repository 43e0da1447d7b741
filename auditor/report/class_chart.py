"""Where the suspect lies among controls of each class, score by score."""

import math
from typing import Any

from auditor.report.canvas import ACCENT, CONTROL, GRID, SMALL, SOFT, WIDTH, Canvas, Scale
from auditor.report.judged_words import CLASS_TITLES, line_title
from auditor.report.plates import Plate, Table
from auditor.report.svg import labelled
from auditor.report.words import number

_HEAD, _ROW, _AXIS, _GAP = 36.0, 20.0, 20.0, 12.0
_LEFT, _RIGHT = 132.0, 14.0
_TICKS = (-30, -10, -3, -1, 0, 1, 3, 10, 30, 100, 300, 1000)
_UNITS = {"replication": "\N{MINUS SIGN}log10 of p"}
Row = dict[str, Any]


def class_plate(validation: Row, scores: dict[str, float | None], controls: list[Row]) -> Plate:
    """Return one panel a score, with a row of family means for each class and the suspect's level.

    Args:
        validation: of the fusion that was used.
        scores: of the suspect, from its support.
        controls: the score table of calibration.json.
    """
    names = list(dict.fromkeys(row["score"] for row in validation["scores"]))
    means = _means(names, controls)
    said = " ".join(_said(name, validation, scores) for name in names)
    return Plate(
        svg=labelled(_drawn(names, means, scores), f"Strips of scores by class. {said}"),
        title="The suspect among controls of known answer, score by score",
        caption=(
            "Each dot: a family of controls, by its mean. Line: the suspect. The axis is stretched "
            "near 0 and compressed far from it, much as in the fusion. z counts the standard "
            f"deviations of the unlinked control families of a case. {said}"
        ),
        table=_table(validation, scores),
    )


def _means(names: list[str], controls: list[Row]) -> dict[tuple[str, str], list[float]]:
    """Return the means of the families by (score, class), of controls that have every score."""
    members: dict[tuple[str, str, str], list[float]] = {}
    for row in controls:
        if all(name in row["scores"] for name in names):
            for name in names:
                key = (name, row["class"], row["family"])
                members.setdefault(key, []).append(row["scores"][name])
    found: dict[tuple[str, str], list[float]] = {}
    for (name, kind, _), own in sorted(members.items()):
        found.setdefault((name, kind), []).append(math.fsum(own) / len(own))
    return found


def _said(name: str, validation: Row, scores: dict[str, float | None]) -> str:
    value = scores.get(name)
    own = "no value" if value is None else number(value, 3)
    medians = ", ".join(
        f"{CLASS_TITLES[row['class']].lower()} {number(row['median'], 2)}"
        for row in validation["scores"]
        if row["score"] == name
    )
    return f"{line_title(name)}: the suspect {own}; medians: {medians}."


def _drawn(
    names: list[str],
    means: dict[tuple[str, str], list[float]],
    scores: dict[str, float | None],
) -> str:
    panel = _HEAD + _ROW * len(CLASS_TITLES) + _AXIS
    canvas = Canvas((panel + _GAP) * len(names) - _GAP)
    for index, name in enumerate(names):
        rows = [(kind, means.get((name, kind), [])) for kind in CLASS_TITLES]
        _panel(canvas, index * (panel + _GAP), name, rows, scores.get(name))
    return canvas.svg()


def _panel(
    canvas: Canvas,
    top: float,
    name: str,
    rows: list[tuple[str, list[float]]],
    suspect: float | None,
) -> None:
    values = [value for _, own in rows for value in own]
    values += [] if suspect is None else [suspect]
    low, high = math.asinh(min(values)), math.asinh(max(values))
    room = 0.04 * (high - low) or 0.5
    scale = Scale((low - room, high + room), (_LEFT, WIDTH - _RIGHT))
    bottom = top + _HEAD + _ROW * len(rows)
    unit = _UNITS.get(name, "z")
    canvas.text((0, top + 13), f"{line_title(name)} ({unit})")
    _ticks(canvas, scale, top + _HEAD, bottom)
    for step, (kind, own) in enumerate(rows):
        y = top + _HEAD + _ROW * (step + 0.5)
        canvas.text((0, y + 4), CLASS_TITLES[kind], size=SMALL)
        for value in own:
            canvas.dot((scale(math.asinh(value)), y), 3, "none", CONTROL)
    if suspect is not None:
        x = scale(math.asinh(suspect))
        canvas.line((x, top + _HEAD - 4), (x, bottom), ACCENT, 2.4)
        label = f"suspect {number(suspect, 3)}"
        place = (min(x, WIDTH - 50), top + _HEAD - 8)
        canvas.text(place, label, anchor="middle", size=SMALL)


def _ticks(canvas: Canvas, scale: Scale, top: float, bottom: float) -> None:
    last = -math.inf
    for tick in _TICKS:
        x = scale(math.asinh(tick))
        if not scale.holds(math.asinh(tick)) or x - last < 26:
            continue
        last = x
        canvas.line((x, top), (x, bottom), GRID)
        label = number(float(tick), 4)
        canvas.text((x, bottom + 14), label, anchor="middle", size=SMALL, colour=SOFT)


def _table(validation: Row, scores: dict[str, float | None]) -> Table:
    rows: list[tuple[str | float, ...]] = []
    for row in validation["scores"]:
        own = scores.get(row["score"])
        rows.append(
            (
                f"{line_title(row['score'])}: {CLASS_TITLES[row['class']].lower()}",
                row["lowest"],
                row["median"],
                row["highest"],
                row["families"],
                "none" if own is None else own,
            )
        )
    columns = ("Score and class", "Lowest", "Median", "Highest", "Families", "The suspect")
    return Table(columns=columns, rows=tuple(rows))
