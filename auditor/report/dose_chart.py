"""Dose and response: what controls of known dose of imitation score, and the suspect beside."""

from typing import Any

from auditor.report.axes import round_ticks
from auditor.report.canvas import ACCENT, CONTROL, INK, SMALL, SOFT, TINT, Canvas
from auditor.report.chart_frame import Axis, Frame, framed
from auditor.report.judged_words import test_title
from auditor.report.plates import Plate, Table
from auditor.report.svg import labelled
from auditor.report.words import number

_HEIGHT, _GAP = 196.0, 16.0
_ROOM = 1.6
"""How far beyond the controls, in their own range, a suspect may lie and still set the axis."""
Row = dict[str, Any]
Controls = dict[str, list[Row]]


def dose_plate(doses: list[Row], controls: Controls) -> Plate | None:
    """Return the figure of the tests that have a curve; None where none has.

    Args:
        doses: of one suspect, from conclusion.json.
        controls: graded controls by test, from calibration.json; drawn as they are.
    """
    known = [row for row in doses if row["undefined"] is None]
    if not known:
        return None
    canvas = Canvas((_HEIGHT + _GAP) * len(known) - _GAP)
    for index, row in enumerate(known):
        _chart(canvas, index * (_HEIGHT + _GAP), row, controls.get(row["test"], []))
    said = " ".join(_said(row) for row in known)
    return Plate(
        svg=labelled(canvas.svg(), f"Charts of dose and response. {said}"),
        title="Dose and response: controls with a known share of imitation",
        caption=(
            "Open dots: students of the reference made with the share of imitation on the axis, "
            "and models without a link at 0 %. Line and band: their mean and one standard "
            "deviation between families; between the doses made, straight lines. Solid level: the "
            "suspect. Dashed level: from here on a test reads imitation. z counts standard "
            f"deviations of the control families of a case. {said} The level says what share "
            "students of the controls' recipe need to score so, not what share the suspect had."
        ),
        table=_table(known),
    )


def _said(row: Row) -> str:
    ends = row["curve"][0], row["curve"][-1]
    means = " to ".join(number(end["mean"], 2) for end in ends)
    return (
        f"{test_title(row['test'])}: the suspect has z "
        f"{number(row['score'], 3)}, controls on average {means}."
    )


def _chart(canvas: Canvas, top: float, row: Row, controls: list[Row]) -> None:
    low, high = _span(row, controls)
    axes = (
        Axis(
            title="share of the training that was imitation",
            ends=(0.0, 1.0),
            ticks=tuple(point["dose"] for point in row["curve"]),
            label=lambda share: f"{number(100 * share, 3)} %",
        ),
        Axis(title="z", ends=(low, high), ticks=tuple(round_ticks(low, high))),
    )
    frame = framed(canvas, top, _HEIGHT, axes, test_title(row["test"]))
    _band(canvas, frame, row["curve"])
    for control in controls:
        canvas.dot(frame.at(control["dose"], control["score"]), 2.6, "none", CONTROL)
    doses = [point["dose"] for point in row["curve"]]
    canvas.path(frame.along(doses, [point["mean"] for point in row["curve"]]), CONTROL, 2)
    if row["threshold"] is not None:
        _level(canvas, frame, row["threshold"], "imitation is read", suspect=False)
    _level(canvas, frame, row["score"], f"suspect, z {number(row['score'], 3)}", suspect=True)


def _span(row: Row, controls: list[Row]) -> tuple[float, float]:
    curve = row["curve"]
    found = [point["mean"] + sign * point["spread"] for point in curve for sign in (1, -1)]
    found += [control["score"] for control in controls]
    found += [] if row["threshold"] is None else [row["threshold"]]
    low, high = min(found), max(found)
    reach = _ROOM * (high - low)
    low, high = min(low, max(row["score"], high - reach)), max(high, min(row["score"], low + reach))
    room = 0.06 * (high - low)
    return low - room, high + room


def _band(canvas: Canvas, frame: Frame, curve: list[Row]) -> None:
    above = [frame.at(point["dose"], point["mean"] + point["spread"]) for point in curve]
    below = [frame.at(point["dose"], point["mean"] - point["spread"]) for point in curve]
    canvas.area([*above, *reversed(below)], TINT)


def _level(canvas: Canvas, frame: Frame, value: float, label: str, *, suspect: bool) -> None:
    left, right = frame.x.points
    y = frame.y(value)
    colour = ACCENT if suspect else SOFT
    canvas.line((left, y), (right, y), colour, 2 if suspect else 1, dashed=not suspect)
    if not frame.y.holds(value):
        canvas.arrow((right - 8, y + (-9 if value > 0 else 9)), "up" if value > 0 else "down")
    # The suspect's label stands left, the threshold's right: two close levels stay readable.
    place = (left + 6, y - 4) if suspect else (right, y - 4)
    anchor = "start" if suspect else "end"
    canvas.text(place, label, anchor=anchor, size=SMALL, colour=INK)  # type: ignore[arg-type]


def _table(known: list[Row]) -> Table:
    rows: list[tuple[str | float, ...]] = []
    for row in known:
        title = test_title(row["test"])
        for point in row["curve"]:
            share = f"{number(100 * point['dose'], 3)} %"
            rows.append((f"{title}: {share}", point["mean"], point["spread"], point["families"]))
        threshold = "none" if row["threshold"] is None else row["threshold"]
        rows.append((f"{title}: imitation is read from", threshold, "", ""))
        rows.append((f"{title}: the suspect", row["score"], "", ""))
    columns = ("Test and share of imitation", "Mean z", "Standard deviation", "Families")
    return Table(columns=columns, rows=tuple(rows))
