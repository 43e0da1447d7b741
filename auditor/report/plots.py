"""Drawing: a histogram in logarithmic bins, and a curve over steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from auditor.report.axes import point_axes, round_tick_labels, title_above, value_grid
from auditor.report.svg import ACCENT, PAPER, WIDTH, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def histogram(key: str, edges: Sequence[float], counts: Sequence[int], unit: str) -> str:
    """Return the SVG of counts in logarithmic bins; `edges` has one number more."""
    height = 190.0

    def build(figure: "Figure") -> None:
        ax = point_axes(figure, height, (46.0, 44.0, WIDTH - 46.0 - 12.0), height - 60.0)
        ax.set_xscale("log")
        widths = [b - a for a, b in pairwise(edges)]
        ax.bar(edges[:-1], counts, widths, align="edge", color=ACCENT, edgecolor=PAPER, linewidth=1)
        ax.set_xlim(edges[0], edges[-1])
        ax.set_ylim(0, max(counts) * 1.06)
        value_grid(ax)
        ax.set_xlabel(unit, fontsize=11)
        title_above(ax, "positions")
        round_tick_labels(ax)

    return drawing(key, height, build)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line over steps."""

    points: tuple[tuple[float, float], ...]
    """(x, y), at least one."""


def curve(key: str, line: Curve, *, x: str, y: str) -> str:
    """Return the SVG of a curve; few points are marked one by one."""
    height = 200.0

    def build(figure: "Figure") -> None:
        ax = point_axes(figure, height, (48.0, 42.0, WIDTH - 48.0 - 14.0), height - 64.0)
        ax.plot(
            *zip(*line.points, strict=True), marker="o" if len(line.points) < 30 else None,
            color=ACCENT, markersize=4.5, linewidth=2, clip_on=False,
        )  # fmt: skip
        _curve_limits(ax, line)
        value_grid(ax)
        round_tick_labels(ax)
        ax.set_xlabel(x, fontsize=11)
        title_above(ax, y)

    return drawing(key, height, build)


def _curve_limits(ax: "Axes", line: Curve) -> None:
    steps = [step for step, _ in line.points]
    values = [value for _, value in line.points]
    low, high = min(values), max(values)
    low = 0.0 if 0 <= low < 0.6 * high else low
    room = 0.06 * (high - low) or 0.5
    ax.set_ylim(low - (room if low else 0.0), high + room)
    ax.set_xlim(min(steps), max(*steps, min(steps) + 1))
