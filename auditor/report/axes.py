"""Axes placed in points, with round numbers on them: what every drawing shares."""

import math
from typing import TYPE_CHECKING

from auditor.report.svg import GRID, SOFT
from auditor.report.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_TICK_DIGITS = 8
"""Ticks are round numbers; fewer digits would show 0.9998 as 1."""


def point_axes(
    figure: "Figure", total: float, box: tuple[float, float, float], height: float
) -> "Axes":
    """Return axes at (left, bottom, width) x `height` points of a figure `total` points high."""
    left, bottom, width = box
    across = figure.get_figwidth() * 72
    ax = figure.add_axes((left / across, bottom / total, width / across, height / total))
    ax.patch.set_visible(False)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=3, pad=3, labelsize=11)
    return ax


def round_tick_labels(ax: "Axes") -> None:
    """Put round numbers on the horizontal axis, powers of ten where it is logarithmic."""
    low, high = sorted(ax.get_xlim())
    ticks = decades(low, high) if ax.get_xscale() == "log" else round_ticks(low, high)
    _label(ax.xaxis, ticks)


def _label(axis: "Axis", ticks: list[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, _TICK_DIGITS)))


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers in [low, high], about `count` of them, evenly spaced."""
    raw = (high - low) / count
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * m for m in (1, 2, 2.5, 5, 10) if base * m >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def decades(low: float, high: float, most: int = 5) -> list[float]:
    """Return powers of ten in [low, high], at most `most`, or round numbers within one decade."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first < 1:
        return round_ticks(low, high, 3)
    step = math.ceil((last - first + 1) / most)
    return [10.0**exponent for exponent in range(first, last + 1, step)]


def value_grid(ax: "Axes") -> None:
    """Put round numbers and faint lines on the vertical axis."""
    low, high = ax.get_ylim()
    _label(ax.yaxis, round_ticks(low, high, count=3))
    ax.grid(visible=True, axis="y", color=GRID, linewidth=1)
    ax.tick_params(axis="y", length=0, labelcolor=SOFT)
    ax.set_axisbelow(True)


def title_above(ax: "Axes", text: str) -> None:
    """Name the vertical axis above it, where it takes no room from a narrow page."""
    ax.annotate(
        text, (0, 1), xycoords="axes fraction", xytext=(-40, 9), fontsize=11,
        textcoords="offset points", color=SOFT, annotation_clip=False,
    )  # fmt: skip
