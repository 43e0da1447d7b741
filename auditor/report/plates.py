"""The figures of a report: a drawing, what it shows in words, and its numbers as a table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from auditor.report.divergence import Histogram, Kind
from auditor.report.findings import Findings, Row
from auditor.report.interval_chart import MARKERS, Mark, Panel, interval_rows, strip
from auditor.report.plots import histogram
from auditor.report.svg import labelled
from auditor.report.words import GROUP_TITLES, counted, interval, number

_BOUNDED_UNITS = frozenset(
    {"share", "score", "cosine", "coefficient", "distance", "reciprocal rank"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The numbers of a figure; the first column heads its rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]
    """A number is a stored one, shown rounded with its exact value behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """One figure."""

    svg: Markup
    title: str
    caption: str
    table: Table
    statistics: tuple[str, ...] = ()
    """Ids of the statistics it shows."""


_MOST_KINDS = 14
HOW_TO_READ = (
    "Filled dot: the suspect; bar: its 95 % interval. Right is closer to the reference on every "
    "line, so some axes run from high to low."
)


def controls_legend(roles: Sequence[str]) -> str:
    """Return what the open markers mean; empty without controls."""
    shown = [role for role in MARKERS if role in roles]
    if not shown:
        return ""
    signs = ", ".join(f"{MARKERS[role][1]} {role}" for role in shown)
    return f" Open markers: controls ({signs})."


def row_panels(rows: Sequence[Row], roles: Sequence[str]) -> list[Panel]:
    """Return the defined rows as panels, one for each unit and direction, in row order."""
    panels: dict[tuple[str, str], list[Mark]] = {}
    for row in rows:
        if row.value is not None:
            panels.setdefault((row.unit, row.closer), []).append(_mark(row, roles))
    return [panel(unit, closer, marks) for (unit, closer), marks in panels.items()]


def panel(unit: str, closer: str, marks: Sequence[Mark]) -> Panel:
    """Return marks on one axis."""
    drawn = Panel(unit=unit, lower=closer == "lower", marks=tuple(marks))
    numbers = drawn.numbers()
    inside = min(numbers) >= 0.0 and max(numbers) <= 1.0
    return replace(drawn, bounded=inside and unit in _BOUNDED_UNITS)


def _mark(row: Row, roles: Sequence[str], label: str | None = None) -> Mark:
    controls = zip(roles, (value for _, value in row.controls), strict=False)
    return Mark(
        label=label or f"{row.title}  {row.id}",
        value=row.value or 0.0,
        interval=row.interval,
        controls=tuple((role, value) for role, value in controls if value is not None),
    )


def headline_strip(key: str, row: Row, roles: Sequence[str]) -> Markup:
    """Return the small drawing of one measure for the first screen."""
    return labelled(strip(key, row_panels([row], roles)[0]), row_sentence(row))


def row_sentence(row: Row) -> str:
    """Return a measurement in words: the text alternative of its drawing."""
    if row.value is None:
        return f"{row.title}: undefined, {row.undefined}."
    text = f"{row.title}: {number(row.value)} {row.unit}"
    if row.interval:
        text += f", 95 % interval {interval(*row.interval)}"
    if row.control_numbers:
        low, high = min(row.control_numbers), max(row.control_numbers)
        text += f"; {counted(len(row.control_numbers), 'control')} between {interval(low, high)}"
    return f"{text}; {row.closer} is closer."


def group_plate(key: str, group: str, rows: Sequence[Row], roles: Sequence[str]) -> Plate | None:
    """Return the interval chart of a group; None where nothing in it is defined."""
    defined = [row for row in rows if row.value is not None]
    if not defined:
        return None
    title = GROUP_TITLES.get(group, group)
    alt = f"Interval chart. {' '.join(row_sentence(row) for row in defined)}"
    return Plate(
        svg=labelled(interval_rows(key, row_panels(defined, roles)), alt),
        title=f"{title}: values and intervals",
        caption=HOW_TO_READ + controls_legend([r for r in roles if defined[0].controls]),
        table=_row_table(defined),
        statistics=tuple(row.id for row in defined),
    )


def _row_table(rows: Sequence[Row]) -> Table:
    names = [name for name, _ in rows[0].controls]
    return Table(
        columns=("Measure", "Unit", "Value", "95 % interval", *names),
        rows=tuple(
            (
                row.title,
                row.unit,
                number(row.value or 0.0),
                interval(*row.interval) if row.interval else "none",
                *("undefined" if v is None else number(v) for _, v in row.controls),
            )
            for row in rows
        ),
    )


def histogram_plate(key: str, found: Histogram) -> Plate | None:
    """Return the histogram of the divergence over positions; None without a positive value."""
    if not found.counts:
        return None
    median = "none" if found.median is None else f"{number(found.median)} nats"
    caption = (
        f"KL divergence at each of {counted(found.positions, 'position')} of the reference's text, "
        f"on a logarithmic axis; further left is closer. Median {median}."
    )
    if found.zeros:
        caption += f" Not drawn: {found.zeros:,} where both models agree exactly."
    if found.undefined:
        caption += (
            f" Not drawn: {found.undefined:,} where the suspect rules out a token that the "
            "reference allows, so that the divergence has no finite value."
        )
    bins = zip(found.edges, found.edges[1:], found.counts, strict=False)
    return Plate(
        svg=labelled(histogram(key, found.edges, found.counts, "nats"), f"Histogram. {caption}"),
        title="Divergence position by position",
        caption=caption,
        table=Table(
            columns=("From (nats)", "To (nats)", "Positions"),
            rows=(
                ("exactly 0", "", f"{found.zeros:,}"),
                *((number(a, 3), number(b, 3), f"{count:,}") for a, b, count in bins),
                ("undefined", "", f"{found.undefined:,}"),
            ),
        ),
    )


def kind_plate(key: str, suites: Sequence[Kind], categories: Sequence[Kind]) -> Plate | None:
    """Return the mean divergence by suite, or by category of the only suite; None without any."""
    drawn = list(suites if len(suites) > 1 else categories)
    half = _MOST_KINDS // 2
    cut = len(drawn) > _MOST_KINDS
    if cut:
        drawn = [*drawn[:half], *drawn[-half:]]
    if not drawn:
        return None
    marks = [Mark(label=f"{k.name}  ({counted(k.probes, 'probe')})", value=k.mean) for k in drawn]
    caption = (
        "Mean KL divergence of the probes of each kind, the most divergent first; right is closer. "
        "Few probes of a kind make its mean unsteady: the table has the range over its probes."
    )
    if cut:
        caption += f" Drawn: the {half} most and the {half} least divergent."
    listed = [*suites, *categories] if len(suites) > 1 else categories
    alt = ", ".join(f"{kind.name} {number(kind.mean, 3)}" for kind in drawn)
    return Plate(
        svg=labelled(interval_rows(key, [panel("nats", "lower", marks)]), f"Chart, nats: {alt}."),
        title="Divergence by kind of probe",
        caption=caption,
        table=Table(
            columns=("Kind", "Mean (nats)", "Smallest to largest probe", "Probes", "Positions"),
            rows=tuple(
                (k.name, number(k.mean), interval(*k.spread), f"{k.probes:,}", f"{k.positions:,}")
                for k in listed
            ),
        ),
    )


def overview_plate(key: str, all_findings: Sequence[Findings]) -> Plate | None:
    """Return each headline measure with one line a suspect; None where nothing is defined."""
    panels, table, shown = [], [], []
    roles = [control.role for control in all_findings[0].controls]
    for name in headline_names(all_findings):
        rows = [(f.suspect.name, row) for f in all_findings for row in f.rows if row.name == name]
        defined = [(suspect, row) for suspect, row in rows if row.value is not None]
        first = defined[0][1]
        marks = [_mark(row, roles, label=f"{suspect}  {row.id}") for suspect, row in defined]
        drawn = panel(first.unit, first.closer, marks)
        panels.append(replace(drawn, label=f"{first.title} ({first.unit})"))
        table += [(first.title, suspect, *_cells(row)) for suspect, row in rows]
        shown += [row.id for _, row in defined]
    if not panels:
        return None
    alt = " ".join(f"{suspect}: {title} {value}." for title, suspect, value, _ in table)
    return Plate(
        svg=labelled(interval_rows(key, panels), f"Interval chart of all suspects. {alt}"),
        title="All suspects on the first measures",
        caption=HOW_TO_READ + controls_legend(roles),
        table=Table(columns=("Measure", "Suspect", "Value", "95 % interval"), rows=tuple(table)),
        statistics=tuple(shown),
    )


def headline_names(all_findings: Sequence[Findings]) -> list[str]:
    """Return the measures to show for a set of suspects: the headlines of any, at most 3."""
    names = dict.fromkeys(row.name for f in all_findings for row in f.headlines)
    return list(names)[:3]


def _cells(row: Row) -> tuple[str, str]:
    if row.value is None:
        return "undefined", row.undefined or ""
    return number(row.value), interval(*row.interval) if row.interval else "none"
