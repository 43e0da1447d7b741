"""Bars, and how rows and bars are shown."""

import pytest

from auditor.bench.bars import accurate, faster, never_negative, smaller, within
from auditor.bench.rows import Row, Timing
from auditor.bench.running import BarResult
from auditor.bench.table import bar_line, cells, columns, duration


def row(name: str, seconds: float, size: int, **options) -> Row:
    timing = Timing(median=seconds, quartile1=seconds, quartile3=2 * seconds, runs=3)
    return Row(name=name, computes="all", timing=timing, extra_bytes=size, **options)


TABLE = {
    "auditor": row("auditor", 0.5, 10 << 20, errors={"js": 1e-7, "kl_ab": 3e-6}),
    "peer": row("peer", 2.0, 40 << 20, negative=3),
    "absent": Row(name="absent", computes="", status="not installed", reason="not installed: x"),
}


@pytest.mark.parametrize(
    ("bar", "value", "met"),
    [
        (faster("auditor", "peer", 4.0), 4.0, True),
        (faster("auditor", "peer", 4.1), 4.0, False),
        (faster("auditor", "absent", 4.0), None, None),
        (faster("auditor", "nobody", 4.0), None, None),
        (smaller("auditor", "peer", 0.25), 0.25, True),
        (smaller("auditor", "peer", 0.2), 0.25, False),
        (within("auditor", 9.0), 10.0, False),
        (within("absent", 9.0), None, None),
        (accurate("auditor", "kl_ab", 1e-5, ""), 3e-6, True),
        (accurate("auditor", "*", 1e-6, ""), 3e-6, False),
        (accurate("absent", "kl_ab", 1.0, ""), None, None),
        (never_negative("auditor"), 0, True),
        (never_negative("peer"), 3, False),
        (never_negative("absent"), None, None),
    ],
)
def test_bars_by_hand(bar, value, met):
    found = bar.value(TABLE)
    assert found == (value if value is None else pytest.approx(value))
    assert BarResult(bar=bar, value=found, reason=None).met is met


def test_a_bar_says_whether_it_is_met():
    bar = faster("auditor", "peer", 5.0)
    line = bar_line(BarResult(bar=bar, value=4.0, reason=None))
    assert line == "bar NOT MET: auditor: at least 5 x as fast as peer; limit 5, found 4"
    assert "not measured (--small)" in bar_line(BarResult(bar=bar, value=None, reason="--small"))


def test_cells_of_rows_that_ran_and_that_did_not():
    assert cells(TABLE["auditor"], timed=True) == (
        "auditor",
        "500 ms",
        "500 ms .. 1 s",
        "",
        "10 MiB",
        "3.0e-06 kl_ab",
        "all",
    )
    absent = cells(TABLE["absent"], timed=True)
    assert absent[-1] == "not installed: x"
    assert len(absent) == len(columns(timed=True))
    assert len(cells(TABLE["peer"], timed=False)) == len(columns(timed=False))
    assert "not comparable" in cells(TABLE["peer"], timed=False)


def test_an_error_cell_counts_what_is_wrong():
    bad = Row(name="x", computes="", errors={"kl_ab": 1.0}, mismatches={"argmax_a": 2}, negative=4)
    assert cells(bad, timed=False)[1] == "1.0e+00 kl_ab, 2 integers differ, 4 negative"


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.34, "12.3 s"), (0.005, "5 ms"), (2e-6, "2 us"), (5e-9, "5 ns")]
)
def test_durations_have_a_unit(seconds, text):
    assert duration(seconds) == text
