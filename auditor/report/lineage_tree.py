"""A tree of models as a drawing: the reference at the left, distance along the tree to the right.

Context, not evidence: the tree is of a cheap look at the files (`auditor/prefilter/1`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auditor.report.canvas import (
    ACCENT,
    CONTROL,
    GRID,
    INK,
    PLATE,
    SMALL,
    SOFT,
    WIDTH,
    Canvas,
    Scale,
    shortened,
)
from auditor.report.svg import plain_label
from auditor.report.words import number

_ROW, _LEFT, _TREE, _GAP = 17.0, 8.0, 0.55, 7.0
_TOP, _AXIS = 26.0, 40.0
_CHARACTER = 6.3
"""Points that a character of a label takes, as a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A model at the tip of a branch."""

    label: str
    measured: bool


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where each node is drawn: distance from the root, and row from the top."""

    x: list[float]
    y: list[float]


def tree_drawing(nodes: Sequence[dict[str, Any]], leaves: Sequence[Leaf]) -> Canvas:
    """Return the drawing of a tree.

    Args:
        nodes: of ``auditor/prefilter/1``, each after its parent; the first is the reference.
        leaves: by number; the first is the reference.
    """
    placed = _placed(nodes)
    shown = sum(node["leaf"] is not None for node in nodes)
    canvas = Canvas(_TOP + _ROW * shown + _AXIS)
    farthest = max(placed.x) or 1.0
    scale = Scale((0.0, farthest), (_LEFT, _LEFT + _TREE * WIDTH))
    canvas.text((_LEFT, 12), "Context, not evidence", size=SMALL, colour=SOFT)
    _draw_branches(canvas, nodes, placed, scale)
    for index, node in enumerate(nodes):
        if node["leaf"] is not None:
            _draw_leaf(
                canvas, leaves[node["leaf"]], (scale(placed.x[index]), placed.y[index]), index
            )
    _draw_axis(canvas, farthest, scale)
    return canvas


def _placed(nodes: Sequence[dict[str, Any]]) -> _Placed:
    x = [0.0] * len(nodes)
    y = [0.0] * len(nodes)
    row = 0
    for index, node in enumerate(nodes):
        if node["parent"] is not None:
            x[index] = x[node["parent"]] + node["length"]
        if node["leaf"] is not None:
            y[index] = _TOP + _ROW * (row + 0.5)
            row += 1
    ends: dict[int, list[float]] = {}
    for index in range(len(nodes) - 1, 0, -1):
        if nodes[index]["leaf"] is None:
            y[index] = (min(ends[index]) + max(ends[index])) / 2
        ends.setdefault(nodes[index]["parent"], []).append(y[index])
    return _Placed(x, y)


def _draw_branches(
    canvas: Canvas, nodes: Sequence[dict[str, Any]], placed: _Placed, scale: Scale
) -> None:
    for index, node in enumerate(nodes):
        if node["parent"] is None:
            continue
        start = (scale(placed.x[node["parent"]]), placed.y[node["parent"]])
        end = (scale(placed.x[index]), placed.y[index])
        canvas.path((start, (start[0], end[1]), end), SOFT)


def _draw_leaf(canvas: Canvas, leaf: Leaf, place: tuple[float, float], index: int) -> None:
    x, y = place
    if index == 0:
        canvas.dot(place, 4.5, INK)
    else:
        canvas.dot(
            place, 3.5, ACCENT if leaf.measured else PLATE, ACCENT if leaf.measured else CONTROL
        )
    text = f"reference: {leaf.label}" if index == 0 else leaf.label
    room = int((canvas.width - x - _GAP) / _CHARACTER)
    canvas.text((x + _GAP, y + 4), shortened(plain_label(text), room), size=SMALL)


def _draw_axis(canvas: Canvas, farthest: float, scale: Scale) -> None:
    base = canvas.height - _AXIS + 8
    canvas.line((scale(0), base), (scale(farthest), base), GRID)
    for value in (0.0, farthest):
        canvas.line((scale(value), base), (scale(value), base + 4), SOFT)
    canvas.text((scale(0), base + 15), "0", size=SMALL, colour=SOFT)
    canvas.text(
        (scale(farthest), base + 15), number(farthest), anchor="end", size=SMALL, colour=SOFT
    )
    said = "distance from the reference along the tree"
    canvas.text((_LEFT, base + 29), said, size=SMALL, colour=SOFT)
