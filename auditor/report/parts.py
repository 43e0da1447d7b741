"""What a section of prose is made of, so that HTML and Markdown say the same."""

from dataclasses import dataclass

Cell = str | float
"""A float is a stored number: HTML shows it with its exact value."""
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table of a section; the first column heads its rows."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One section: paragraphs, then facts, tables, a list and what closes it."""

    key: str
    """Anchor in the page."""
    title: str
    paragraphs: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    grids: tuple[Grid, ...] = ()
    points: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()


def listed(names: list[str], none: str = "none") -> str:
    """Return names with commas; `none` where there are none."""
    return ", ".join(names) or none
