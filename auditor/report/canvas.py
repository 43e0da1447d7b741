"""A small drawing surface for the figures of the judged numbers: plain SVG, in the page's colours.

Why not matplotlib here: these figures are lines, bars and words, and a report has many of them;
written directly each costs under a millisecond and does not depend on the release of a library.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from markupsafe import escape

from auditor.report.escape import visible

Anchor = Literal["start", "middle", "end"]
INK, SOFT, GRID, ACCENT, CONTROL, PLATE, TINT = (
    f"var(--{name})" for name in ("ink", "soft", "grid", "accent", "control", "plate", "tint")
)
WIDTH = 376.0
"""Points, as all drawings of a report: on a phone of 390 px text of 11 stays readable."""
SMALL, NORMAL = 11.0, 12.0
Point = tuple[float, float]


class Canvas:
    """Shapes in the order drawn; x to the right, y downwards, in points."""

    def __init__(self, height: float, width: float = WIDTH) -> None:
        """Start an empty drawing."""
        self.height, self.width = height, width
        self._parts: list[str] = []

    def line(
        self, start: Point, end: Point, colour: str, width: float = 1.0, *, dashed: bool = False
    ) -> None:
        """Draw a straight line."""
        self.path((start, end), colour, width, dashed=dashed)

    def path(
        self, points: Sequence[Point], colour: str, width: float = 1.0, *, dashed: bool = False
    ) -> None:
        """Draw a line through at least two points."""
        d = "M" + " L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        dash = ";stroke-dasharray:4 3" if dashed else ""
        self._parts.append(
            f'<path d="{d}" style="fill:none;stroke:{colour};stroke-width:{_n(width)}{dash}"/>'
        )

    def steps(
        self, points: Sequence[Point], colour: str, width: float = 1.0, *, dashed: bool = False
    ) -> None:
        """Draw a staircase: each height holds up to the next point."""
        corners = [points[0]]
        for (_, y), (x, after) in pairwise(points):
            corners += [(x, y), (x, after)]
        self.path(corners, colour, width, dashed=dashed)

    def area(self, points: Sequence[Point], colour: str, opacity: float = 1.0) -> None:
        """Fill the inside of a closed line."""
        d = "M" + " L".join(f"{_n(x)} {_n(y)}" for x, y in points) + " Z"
        self._parts.append(f'<path d="{d}" style="fill:{colour};fill-opacity:{_n(opacity)}"/>')

    def box(
        self, corner: Point, size: Point, fill: str, *, stroke: str = "none", opacity: float = 1.0
    ) -> None:
        """Draw a rectangle from its upper left corner; a negative width runs to the left."""
        (x, y), (width, height) = corner, size
        x, width = (x + width, -width) if width < 0 else (x, width)
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" '
            f'style="fill:{fill};fill-opacity:{_n(opacity)};stroke:{stroke}"/>'
        )

    def dot(self, centre: Point, radius: float, fill: str, stroke: str = "none") -> None:
        """Draw a circle."""
        x, y = centre
        self._parts.append(
            f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" '
            f'style="fill:{fill};stroke:{stroke};stroke-width:1.4"/>'
        )

    def arrow(self, tip: Point, direction: Literal["left", "right", "up", "down"]) -> None:
        """Draw a filled arrow head of 8 points: there is more beyond."""
        x, y = tip
        back = {"left": (8, 0), "right": (-8, 0), "up": (0, 8), "down": (0, -8)}[direction]
        across = (0, 5) if back[1] == 0 else (5, 0)
        base = (x + back[0], y + back[1])
        one, other = ((base[0] + s * across[0], base[1] + s * across[1]) for s in (1, -1))
        self.area((tip, one, other), ACCENT)

    def text(
        self,
        place: Point,
        text: str,
        *,
        anchor: Anchor = "start",
        size: float = NORMAL,
        colour: str = INK,
    ) -> None:
        """Write one line; `place` is its base line. Hidden characters are shown by code point."""
        x, y = place
        aligned = "" if anchor == "start" else f";text-anchor:{anchor}"
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" style="font-size:{_n(size)}px;fill:{colour}{aligned}">'
            f"{escape(visible(text))}</text>"
        )

    def svg(self) -> str:
        """Return the element."""
        box = f"0 0 {_n(self.width)} {_n(self.height)}"
        return f'<svg viewBox="{box}">{"".join(self._parts)}</svg>'


class Scale:
    """Values on one axis, in points; what lies beyond an end is drawn at it."""

    def __init__(self, values: Point, points: Point) -> None:
        """Map `values` (first, last), which differ, onto `points`."""
        self.values, self.points = values, points

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        (a, b), (start, end) = self.values, self.points
        share = min(max((value - a) / (b - a), 0.0), 1.0)
        return start + share * (end - start)

    def holds(self, value: float) -> bool:
        """Return whether a value lies on the axis."""
        return min(self.values) <= value <= max(self.values)


def shortened(text: str, most: int) -> str:
    """Return `text`, cut with an ellipsis after `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"
