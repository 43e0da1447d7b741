"""Bars: the ratios, sizes and errors that an experiment is expected to reach."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from auditor.bench.rows import Row

Table = Mapping[str, Row]
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One expectation about the rows of an experiment."""

    text: str
    value: Callable[[Table], float | None]
    """None where a row that it needs was not measured."""
    limit: float
    at_least: bool = False
    """Whether the value must not be below the limit; else not above."""
    accuracy: bool = False
    """Holds on every device and shape; other bars are for CPUs and full shapes."""

    def met(self, value: float) -> bool:
        """Return whether a value reaches the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


def faster(row: str, peer: str, limit: float) -> Bar:
    """Return the bar that `row` is `limit` times as fast as `peer`."""
    return Bar(
        text=f"{row}: at least {limit:.3g} x as fast as {peer}",
        value=lambda table: _ratio(_seconds(table, peer), _seconds(table, row)),
        limit=limit,
        at_least=True,
    )


def smaller(row: str, peer: str, share: float) -> Bar:
    """Return the bar that `row` needs at most `share` of the extra memory of `peer`."""
    return Bar(
        text=f"{row}: extra memory at most {100 * share:.3g} % of {peer}",
        value=lambda table: _ratio(_bytes(table, row), _bytes(table, peer)),
        limit=share,
    )


def within(row: str, mebibytes: float) -> Bar:
    """Return the bar that `row` needs at most so much extra memory."""

    def used(table: Table) -> float | None:
        size = _bytes(table, row)
        return None if size is None else size / MIB

    return Bar(text=f"{row}: extra memory at most {mebibytes:g} MiB", value=used, limit=mebibytes)


def accurate(row: str, output: str, limit: float, text: str) -> Bar:
    """Return the bar on the error of one output of `row` against float64; "*" is the worst."""

    def error(table: Table) -> float | None:
        errors = table[row].errors if row in table else {}
        return max(errors.values(), default=None) if output == "*" else errors.get(output)

    return Bar(text=f"{row}: {text}", value=error, limit=limit, accuracy=True)


def never_negative(row: str) -> Bar:
    """Return the bar that no divergence of `row` is below 0."""

    def count(table: Table) -> float | None:
        return table[row].negative if row in table and table[row].status == "ok" else None

    return Bar(text=f"{row}: negative divergences", value=count, limit=0, accuracy=True)


def _seconds(table: Table, name: str) -> float | None:
    timing = table[name].timing if name in table else None
    return None if timing is None else timing.median


def _bytes(table: Table, name: str) -> float | None:
    return table[name].extra_bytes if name in table else None


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    return numerator / denominator if numerator is not None and denominator else None
