"""How soon a watch would see a change, simulated."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.judge.betting import Cell
from auditor.judge.wagers import Wagers
from auditor.types import Array

Answering = Callable[[np.random.RandomState], Sequence[Array]]
"""Draws a deployment: of each cell, (K,) the probabilities of its answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How soon a change is seen."""

    share: float
    """Of simulated watches that saw it."""
    queries: int | None
    """Median number of queries; None where fewer than half saw it."""


def watched(
    fresh: Wagers,
    answering: Sequence[Array],
    *,
    log10_alarm: float,
    queries: int,
    draw: np.random.RandomState,
) -> int | None:
    """Return after how many questions a watch alarms, None where it does not.

    Args:
        fresh: bets that have seen nothing yet; they are not changed.
        answering: of each cell, (K,) the probabilities of the answers of the one that is watched.
        log10_alarm: base-10 logarithm of the wealth at which a change is called.
        queries: most that are asked.
        draw: of the answers.
    """
    wagers = copy.deepcopy(fresh)
    totals = [np.cumsum(row) for row in answering]
    for number in range(1, queries + 1):
        cell = wagers.next_cell()
        answer = int(np.searchsorted(totals[cell], draw.random_sample() * totals[cell][-1]))
        if wagers.add(cell, min(answer, len(totals[cell]) - 1)) >= log10_alarm:
            return number
    return None


def power(
    groups: Sequence[Sequence[Cell]],
    answering: Answering,
    *,
    log10_alarm: float,
    queries: int,
    runs: int = 100,
) -> Seen:
    """Return how soon deployments that are drawn by `answering` are seen.

    Args:
        groups: of each group of honest deployments, its cells.
        answering: a deployment, drawn anew for each watch.
        log10_alarm: base-10 logarithm of the wealth at which a change is called.
        queries: most that are asked.
        runs: simulated watches.
    """
    draw, fresh = np.random.RandomState(0), Wagers(groups)
    found = [
        watched(fresh, answering(draw), log10_alarm=log10_alarm, queries=queries, draw=draw)
        for _ in range(runs)
    ]
    times = [math.inf if one is None else one for one in found]
    middle = float(np.median(times))
    share = float(np.isfinite(times).mean())
    return Seen(share=share, queries=math.ceil(middle) if math.isfinite(middle) else None)


def always(rows: Sequence[Array]) -> Answering:
    """Return one deployment, whatever is drawn."""
    return lambda draw: rows


def moved(cells: Sequence[Cell], share: float) -> Answering:
    """Return deployments that give `share` of the usual answers of every cell otherwise.

    The answer that gains is drawn anew for every cell and watch, "any other" among them.
    """

    def answering(draw: np.random.RandomState) -> list[Array]:
        found = []
        for cell in cells:
            changed = cell.usual * (1.0 - share)
            changed[draw.randint(len(changed))] += share
            found.append(changed)
        return found

    return answering
