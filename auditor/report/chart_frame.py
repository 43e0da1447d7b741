"""A framed chart with two numeric axes on a canvas: what the curve figures share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auditor.report.axes import round_ticks
from auditor.report.canvas import GRID, INK, SMALL, SOFT, Canvas, Point, Scale
from auditor.report.words import number

LEFT, BOTTOM = 40.0, 34.0
Label = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Two scales that place a point."""

    x: Scale
    y: Scale

    def at(self, x: float, y: float) -> Point:
        """Return the place of a point; what lies beyond the frame is drawn at its edge."""
        return self.x(x), self.y(y)

    def along(self, xs: Sequence[float], ys: Sequence[float]) -> list[Point]:
        """Return the places of points."""
        return [self.at(x, y) for x, y in zip(xs, ys, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of a chart."""

    title: str
    ends: tuple[float, float]
    ticks: tuple[float, ...] | None = None
    """Round numbers where None."""
    label: Label = number

    @property
    def places(self) -> tuple[float, ...]:
        """Where it has labels."""
        return self.ticks or tuple(round_ticks(*self.ends))


def framed(canvas: Canvas, top: float, height: float, axes: tuple[Axis, Axis], title: str) -> Frame:
    """Draw title, grid and labels of a chart that is `height` points high with all of it."""
    horizontal, vertical = axes
    frame = Frame(
        x=Scale(horizontal.ends, (LEFT, canvas.width - 12)),
        y=Scale(vertical.ends, (top + height - BOTTOM, top + 40)),
    )
    canvas.text((0, top + 13), title, colour=INK)
    canvas.text((0, top + 30), vertical.title, size=SMALL, colour=SOFT)
    for value in vertical.places:
        y = frame.y(value)
        canvas.line((LEFT, y), (canvas.width - 12, y), GRID)
        place = (LEFT - 5, y + 4)
        canvas.text(place, vertical.label(value), anchor="end", size=SMALL, colour=SOFT)
    base = top + height - BOTTOM
    for value in horizontal.places:
        x = frame.x(value)
        canvas.line((x, base), (x, base + 4), SOFT)
        place = (x, base + 15)
        canvas.text(place, horizontal.label(value), anchor="middle", size=SMALL, colour=SOFT)
    middle = ((LEFT + canvas.width - 12) / 2, base + 29)
    canvas.text(middle, horizontal.title, anchor="middle", size=SMALL, colour=SOFT)
    return frame
