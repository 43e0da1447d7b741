"""The scope map: in which probe categories and layers a link shows."""

import math
from typing import Any

from auditor.report.canvas import (
    ACCENT,
    GRID,
    PLATE,
    SMALL,
    SOFT,
    WIDTH,
    Canvas,
    Scale,
    shortened,
)
from auditor.report.plates import Plate, Table
from auditor.report.svg import labelled
from auditor.report.words import number

_ROW, _TOP, _AXIS = 17.0, 8.0, 34.0
_LEFT, _RIGHT = 124.0, 66.0
_MOST, _FAR = 20, 6.0
"""Parts drawn, and -log10 of the p that ends the axis."""
_ALPHA = 0.05
Row = dict[str, Any]


def scope_plate(scope: Row, kind: str) -> Plate:
    """Return the map of a scope object of a conclusion; `kind` is ``category`` or ``layer``."""
    parts = scope["parts"]
    tested = [part for part in parts if part["adjusted"] is not None]
    drawn = tested if kind == "layer" else sorted(tested, key=lambda p: (p["p"], p["name"]))
    drawn = sorted(drawn[:_MOST], key=parts.index) if kind == "layer" else drawn[:_MOST]
    noun = {"category": "probe category", "layer": "layer"}[kind]
    title = {
        "category": "Probe categories, by the suspect's own samples",
        "layer": "Layers, by neuron matching",
    }[kind]
    caption = (
        f"Each bar: how unlikely a model without a link would be as close on this {noun} alone, "
        "after correction for their number (Holm); longer is less likely. Filled: under 0.05, the "
        "link shows. Outlined: it does not show there, which with few probes is no difference yet."
    )
    if len(drawn) < len(parts):
        caption += f" Drawn: {len(drawn)} of {len(parts)}; the table has all."
    shown = ", ".join(part["name"] for part in drawn if part["shows"]) or "none"
    return Plate(
        svg=labelled(_drawn(drawn, kind), f"Bar chart. {scope['sentence']} It shows in: {shown}."),
        title=title,
        caption=caption,
        table=_table(parts, noun),
    )


def _drawn(parts: list[Row], kind: str) -> str:
    canvas = Canvas(_TOP + _ROW * len(parts) + _AXIS)
    scale = Scale((0.0, _FAR), (_LEFT, WIDTH - _RIGHT))
    bottom = _TOP + _ROW * len(parts)
    for power in (0, 2, 4, 6):
        x = scale(power)
        canvas.line((x, _TOP), (x, bottom), GRID)
        label = "1" if power == 0 else number(10.0**-power, 1)
        canvas.text((x, bottom + 14), label, anchor="middle", size=SMALL, colour=SOFT)
    limit = scale(-math.log10(_ALPHA))
    canvas.line((limit, _TOP - 4), (limit, bottom), SOFT, dashed=True)
    canvas.text((limit, bottom + 28), "0.05", anchor="middle", size=SMALL, colour=SOFT)
    canvas.text((WIDTH, bottom + 28), "adjusted p", anchor="end", size=SMALL, colour=SOFT)
    for index, part in enumerate(parts):
        _bar(canvas, scale, _TOP + _ROW * index, part, kind)
    return canvas.svg()


def _bar(canvas: Canvas, scale: Scale, top: float, part: Row, kind: str) -> None:
    name = f"layer {part['name']}" if kind == "layer" else part["name"]
    canvas.text((0, top + 12), shortened(name, 19))
    size = -math.log10(max(part["adjusted"], 1e-300))
    width = max(scale(size) - scale(0.0), 1.5)
    fill = ACCENT if part["shows"] else PLATE
    canvas.box((scale(0.0), top + 3), (width, _ROW - 6), fill, stroke=ACCENT)
    if not scale.holds(size):
        canvas.arrow((scale(_FAR) + 9, top + _ROW / 2), "right")
    text = number(part["adjusted"], 3) if part["adjusted"] >= 1e-4 else "under 0.0001"
    canvas.text((WIDTH, top + 12), text.replace("under ", "<"), anchor="end", size=SMALL)


def _table(parts: list[Row], noun: str) -> Table:
    rows: list[tuple[str | float, ...]] = []
    for part in parts:
        if part["p"] is None:
            reason = f"undefined: {part['reason'] or 'too few controls'}"
            rows.append((part["name"], reason, "none", "no"))
            continue
        shows = "yes" if part["shows"] else "no"
        rows.append((part["name"], part["p"], part["adjusted"], shows))
    columns = (noun.capitalize(), "p", "Adjusted p", "Shows")
    return Table(columns=columns, rows=tuple(rows))
