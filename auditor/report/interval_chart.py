"""Drawing: rows of values with intervals and controls.

Right is always closer to the reference, whichever way a measure counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auditor.report.axes import point_axes, round_tick_labels
from auditor.report.svg import ACCENT, CONTROL, GRID, INK, PAPER, SOFT, WIDTH, drawing, plain_label
from auditor.report.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = {
    "independent": ("o", "○"),
    "sibling": ("^", "△"),
    "base": ("s", "□"),
    "imitation": ("D", "◇"),
    "replication": ("v", "▽"),
}
"""Control role -> marker in a drawing, and the same sign for its legend."""
_ROW, _LANE, _BOTTOM, _GAP = 38.0, 15.0, 40.0, 14.0
"""Points: height of a row, of the controls under it, room for an axis, space between panels."""
_LEFT, _RIGHT = 12.0, 12.0
_LOG_FROM = 100.0
"""Ratio of largest to smallest value from which an axis is logarithmic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One row: a value with its interval, and the controls on the same axis."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    controls: tuple[tuple[str, float], ...] = ()
    """(role, value)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Rows that share an axis: one unit, one direction."""

    unit: str
    lower: bool
    """A lower value is closer to the reference."""
    marks: tuple[Mark, ...]
    bounded: bool = False
    """Values lie in [0, 1], and one end of it means that nothing differs."""
    label: str = ""
    """Of the axis; the unit where empty."""

    @property
    def controlled(self) -> bool:
        """Whether controls need a line of their own under each row."""
        return any(mark.controls for mark in self.marks)

    @property
    def row_height(self) -> float:
        """Points of one row."""
        return _ROW + (_LANE if self.controlled else 0.0)

    @property
    def height(self) -> float:
        """Points, with its axis."""
        return self.row_height * len(self.marks) + _BOTTOM

    def numbers(self) -> list[float]:
        """Every number that the axis has to hold."""
        found = [mark.value for mark in self.marks]
        found += [end for mark in self.marks for end in mark.interval or ()]
        return found + [value for mark in self.marks for _, value in mark.controls]


def interval_rows(key: str, panels: Sequence[Panel]) -> str:
    """Return the SVG of panels stacked, each row labelled above its line."""
    height = sum(panel.height for panel in panels) + _GAP * (len(panels) - 1)

    def build(figure: "Figure") -> None:
        top = height
        for panel in panels:
            box = (_LEFT, top - panel.height + _BOTTOM, WIDTH - _LEFT - _RIGHT)
            ax = point_axes(figure, height, box, panel.height - _BOTTOM)
            _rows(ax, panel, labels=True)
            _axis(ax, panel)
            top -= panel.height + _GAP

    return drawing(key, height, build)


def strip(key: str, panel: Panel) -> str:
    """Return the SVG of one row without label, for the first screen."""
    width, line = 300.0, 20.0 + (_LANE if panel.controlled else 0.0)
    height = _BOTTOM + line + 8.0

    def build(figure: "Figure") -> None:
        ax = point_axes(figure, height, (_LEFT, _BOTTOM, width - _LEFT - _RIGHT), line)
        _rows(ax, panel, labels=False)
        _axis(ax, panel)

    return drawing(key, height, build, width=width)


def _rows(ax: "Axes", panel: Panel, *, labels: bool) -> None:
    """Draw in points: the y axis is the height of the panel."""
    row_height = panel.row_height if labels else 20.0 + (_LANE if panel.controlled else 0.0)
    ax.set_ylim(0, row_height * len(panel.marks))
    ax.set_yticks([])
    for index, mark in enumerate(panel.marks):
        base = row_height * (len(panel.marks) - 1 - index)
        y = base + 10.0 + (_LANE if panel.controlled else 0.0)
        ax.axhline(y, color=GRID, linewidth=1, zorder=1)
        for role, values in _by_role(mark.controls).items():
            marker = MARKERS.get(role, MARKERS["independent"])[0]
            ax.plot(
                values, [base + 9.0] * len(values), marker, markersize=7.5, markerfacecolor=PAPER,
                markeredgecolor=CONTROL, markeredgewidth=1.4, zorder=3, clip_on=False,
            )  # fmt: skip
        if mark.interval is not None:
            ax.plot(mark.interval, [y, y], "|-", color=ACCENT, linewidth=3, markersize=11, zorder=4)
        ax.plot([mark.value], [y], "o", color=ACCENT, markersize=9, zorder=5, clip_on=False)
        if labels:
            _row_label(ax, mark, y + 15.0)


def _by_role(controls: Sequence[tuple[str, float]]) -> dict[str, list[float]]:
    """Return {role: values}: one line of the drawing for each, which is many times quicker."""
    found: dict[str, list[float]] = {}
    for role, value in controls:
        found.setdefault(role, []).append(value)
    return found


def _row_label(ax: "Axes", mark: Mark, y: float) -> None:
    place = ax.get_yaxis_transform()
    ax.text(0, y, plain_label(mark.label), transform=place, color=INK, va="center")
    ax.text(1, y, number(mark.value, 3), transform=place, color=INK, va="center", ha="right")


def _axis(ax: "Axes", panel: Panel) -> None:
    """Set scale, limits and ticks; the closer end is on the right and says so."""
    low, high = _limits(panel)
    if _is_logarithmic(panel.numbers()):
        ax.set_xscale("log")
    ax.set_xlim((high, low) if panel.lower else (low, high))
    round_tick_labels(ax)
    _below(ax, "closer →", at=1.0, align="right")
    _below(ax, plain_label(panel.label or panel.unit), at=0.0, align="left")


def _below(ax: "Axes", text: str, *, at: float, align: Literal["left", "right"]) -> None:
    ax.annotate(
        text, (at, 0), xycoords="axes fraction", xytext=(0, -31), textcoords="offset points",
        color=SOFT, ha=align, fontsize=11, annotation_clip=False,
    )  # fmt: skip


def _is_logarithmic(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) >= _LOG_FROM


def _limits(panel: Panel) -> tuple[float, float]:
    """Return the ends of the axis.

    Of a bounded unit all of [0, 1] where there is nothing to compare with; among controls the
    values and the end that means "no difference", so that small distances can be seen.
    """
    values = panel.numbers()
    low, high = min(values), max(values)
    if _is_logarithmic(values):
        return low / 1.5, high * 1.5
    if panel.bounded and not panel.controlled:
        return 0.0, 1.0
    if panel.bounded and not panel.lower:
        return max(0.0, low - 0.08 * (1.0 - low)) if low < 1.0 else 0.0, 1.0
    low = min(low, 0.0)
    room = 0.08 * (high - low) or 0.5
    high = min(high + room, 1.0) if panel.bounded else high + room
    return (low - room if low < 0 else low), high
