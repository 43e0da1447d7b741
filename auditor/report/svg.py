"""Inline SVG from matplotlib: the same bytes each time, in the colours of the page.

Why the clean-up: a matplotlib file has its own fonts, ids and a style element that would leak
into the page, and fixed colours that vanish in dark mode. Here colours become the page's CSS
variables, fonts its own, and ids are dropped or made unique by the figure's key.
"""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from auditor.report.escape import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, GRID, ACCENT, CONTROL, PAPER = (
    "#0a0101",
    "#0a0102",
    "#0a0103",
    "#0a0104",
    "#0a0105",
    "#0a0106",
)
_VARIABLES = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    GRID: "var(--grid)",
    ACCENT: "var(--accent)",
    CONTROL: "var(--control)",
    PAPER: "var(--plate)",
}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "auditor",
    "text.parse_math": False,
    "font.size": 12.0,
    "font.family": ["DejaVu Sans"],
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": INK,
    "axes.unicode_minus": True,
    "path.simplify": False,
}
_LAST_GLYPH = "\u00ff"
"""The last character of Latin-1, which the font that matplotlib measures with has whole."""
WIDTH = 376.0
"""Points: on a phone of 390 px the drawing shrinks little and its text stays readable."""


def drawing(
    key: str, height: float, build: "Callable[[Figure], None]", width: float = WIDTH
) -> str:
    """Return the SVG element that `build` draws on a figure of `width` x `height` points."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width / 72, height / 72))
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        build(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return cleaned(stream.getvalue(), key)


def cleaned(svg: str, key: str) -> str:
    """Return the bare ``<svg>`` element, without size, fonts, metadata, comments or spare ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.S)
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'<svg xmlns:xlink="[^"]*"', "<svg", svg, count=1)
    svg = re.sub(r' xmlns="[^"]*" version="1.1"', "", svg, count=1)
    svg = svg.replace("xlink:href=", "href=")
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg))
    names = sorted({name for pair in used for name in pair if name})
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in names else "", svg)
    svg = re.sub(r"url\(#", f"url(#{key}-", svg)
    svg = svg.replace('href="#', f'href="#{key}-')
    svg = re.sub(r"; font-family: [^;\"]*|font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"\s*\n\s*(?=[A-Zz\"])", " ", svg)
    svg = re.sub(r"<defs>\s*</defs>", "", svg)
    return re.sub(r">\s+<", "><", svg).strip()


def labelled(svg: str, alt: str) -> Markup:
    """Return the drawing as an image with `alt` as its text alternative."""
    opening = Markup('<svg role="img" aria-label="{}" ').format(visible(alt))
    return opening + Markup(svg.removeprefix("<svg "))  # noqa: S704 - our own drawing


def plain_label(text: str) -> str:
    """Return `text` with characters that the drawing's font metrics lack by code point."""
    return "".join(
        char if char <= _LAST_GLYPH and char.isprintable() else f"\\u{ord(char):04x}"
        for char in text
    )
