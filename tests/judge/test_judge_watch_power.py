"""Forecasts of a watch: a swap is seen at once, nothing is not seen."""

import numpy as np

from auditor.judge.betting import Cell
from auditor.judge.wagers import Wagers
from auditor.judge.watch_power import always, moved, power, watched


def cells(count: int = 8) -> list[Cell]:
    return [
        Cell(
            usual=np.array([0.94, 0.05, 0.01]),
            limits=np.array([1.0, 0.09, 0.03]),
            weights=np.array([0.0, 0.8, 0.2]),
        )
    ] * count


def test_larger_changes_are_seen_sooner_and_none_is_not_seen() -> None:
    found = [
        power([cells()], moved(cells(), share), log10_alarm=2.0, queries=150, runs=60)
        for share in (1.0, 0.5, 0.0)
    ]
    whole, half, none = found
    assert whole.queries is not None
    assert half.queries is not None
    assert whole.queries <= 8
    assert whole.queries < half.queries <= 60
    assert none.queries is None
    assert none.share <= 0.05


def test_a_watch_of_certain_answers_takes_as_long_as_the_bets_need() -> None:
    # always the second answer: the same bets by hand, one question after the other
    rows = [np.array([0.0, 1.0, 0.0])] * 8
    wagers = Wagers([cells()])
    asked = 0
    while wagers.log10_wealth < 2.0:
        wagers.add(wagers.next_cell(), 1)
        asked += 1
    fresh = Wagers([cells()])
    draw = np.random.RandomState(0)
    assert watched(fresh, rows, log10_alarm=2.0, queries=150, draw=draw) == asked
    assert watched(fresh, rows, log10_alarm=2.0, queries=asked - 1, draw=draw) is None
    # the alarm itself is one, and no watch leaves its bets to the next
    just = wagers.log10_wealth
    assert watched(fresh, rows, log10_alarm=just, queries=asked, draw=draw) == asked
    assert fresh.log10_wealth == 0.0
    seen = power([cells()], always(rows), log10_alarm=2.0, queries=150, runs=5)
    assert (seen.share, seen.queries) == (1.0, asked)
