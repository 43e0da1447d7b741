"""Which questions a watch asks, and how each group of honest deployments may answer them.

Near ties: a low temperature divides the gap of the two likeliest answers, so those whose gap is a
little wider than honest deployments differ hold still while nothing is changed, and turn over where
a change moves their logits by a little more.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.judge.betting import Cell, ceilings, gaining
from auditor.types import Array

Answers = Mapping[str, float]
"""Probability of each answer; what is missing to 1 is any other."""
_LIKELY = 0.02
_TOLD = 3
"""The likeliest answers of a pass, which are told apart however rare they are."""
_NAMED = 6
"""Answers of a cell that are told apart; all others count as one."""
NEAR_TIE = 0.5
"""Nats, at temperature 1, between the two likeliest answers."""
WIDENED = 1.25
"""What the largest drop of a gap is multiplied by: another deployment may differ by more than those
that were read."""
WINDOW = 0.2
"""Nats past the least gap, in which another kind of tie is better than a narrower gap."""
STEPS = 2.0
"""Temperatures by which a gap is to be wider than honest deployments differ: odds of e^2 to 1 at
worst, so an answer that should not be is a seventh of an answer there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What deployments that put the same message before a question answer to it."""

    passes: Sequence[Answers]
    draws: Sequence[int | None]
    """Of each pass, the answers that its probabilities are counted from; None: exact."""


def ranked(row: Answers) -> list[str]:
    """Return the answers of a pass, the likeliest first."""
    return sorted(row, key=lambda text: (-row[text], text))


def names_of(groups: Sequence[Group]) -> list[str]:
    """Return the likely answers of the passes, those that come first in any pass first."""
    place: dict[str, tuple[int, float]] = {}
    for group in groups:
        for row in group.passes:
            for rank, text in enumerate(ranked(row)):
                if rank < _TOLD or row[text] >= _LIKELY:
                    place[text] = min(place.get(text, (rank, 0.0)), (rank, -row[text]))
    return sorted(place, key=lambda text: (*place[text], text))[:_NAMED]


def table(rows: Sequence[Answers], names: Sequence[str]) -> Array:
    """Return (M, K + 1) probabilities of the named answers and of any other."""
    named = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    named = named.reshape(len(rows), len(names))
    found = np.column_stack([named, np.maximum(0.0, 1.0 - named.sum(axis=1))])
    return np.asarray(found / found.sum(axis=1, keepdims=True))  # rounding


def cells_of(
    groups: Sequence[Group], names: Sequence[str], margins: Sequence[float], temperature: float
) -> list[Cell]:
    """Return a question as each group answers it.

    Args:
        groups: their passes.
        names: answers that are told apart.
        margins: (G,) nats at temperature 1, see `honest_margin`.
        temperature: at which the answers are drawn.
    """
    found = []
    for group, margin in zip(groups, margins, strict=True):
        passes = table(group.passes, names)
        limits = ceilings(passes, group.draws, margin / temperature)
        found.append(cell_of(passes, limits, temperature))
    return found


def cell_of(passes: Array, limits: Array, temperature: float) -> Cell:
    """Return a question as a group answers it, from (M, K) its passes and (K,) its ceilings."""
    usual = passes.mean(axis=0)
    return Cell(usual=usual, limits=limits, weights=gaining(usual, limits, temperature))


def gap(row: Answers, first: str, second: str, temperature: float) -> float:
    """Return by how many nats, at temperature 1, one answer is likelier than another."""
    odds = np.log([max(row.get(text, 0.0), 1e-300) for text in (first, second)])
    return float(temperature * (odds[0] - odds[1]))


def least_gap(group: Group, temperature: float) -> float:
    """Return the narrowest gap of the passes between the answers that are first in the first pass.

    In nats at temperature 1; negative where they are tied the other way round in a pass.
    """
    first, second = kind(group)
    return min(gap(row, first, second, temperature) for row in group.passes)


def honest_margin(groups: Sequence[Group], temperature: float) -> float:
    """Return nats, at temperature 1, by which the gap of a near tie may drop, `WIDENED`.

    The most that any pass drops below the least gap of the others: what one more deployment would
    have done. Over the near ties of many questions: those that are kept are chosen because their
    passes lie near each other, so they alone would not tell.

    Args:
        groups: the same deployments with many questions.
        temperature: at which the answers are drawn.
    """
    drops = [0.0]
    for group in groups:
        first, second = kind(group)
        gaps = sorted(gap(row, first, second, temperature) for row in group.passes)
        if len(gaps) > 1 and gaps[0] < NEAR_TIE:
            drops.append(gaps[1] - gaps[0])
    return WIDENED * max(drops)


def headroom(passes: Array, limits: Array) -> float:
    """Return how well a cell shows a change, in [0, 1]: the mean room above the answers' ceilings.

    Near 0 where one answer is always given and where the passes lie apart; largest where several
    answers are about as likely in every pass.
    """
    return float((passes.mean(axis=0) * (1.0 - limits)).sum())


def kind(group: Group) -> tuple[str, str]:
    """Return the two likeliest answers of the first pass, the likelier first."""
    first, second, *_ = (*ranked(group.passes[0]), "", "")
    return first, second


def nearest_in_turn(
    gaps: Array, least: Array, kinds: Sequence[Sequence[object]], count: int
) -> list[int]:
    """Return the questions whose gap is least and yet wide enough, each group in turn.

    Of several kinds among those within `WINDOW` of the least gap: a wider one shows only larger
    changes, however different it is.

    Args:
        gaps: (N, G) nats at temperature 1 of each question in each group.
        least: (G,) of each group, that a gap has to have.
        kinds: (N, G) of each question in each group.
        count: most that are kept.
    """
    wide = np.where(gaps < least, -np.inf, -gaps)
    kept = best_in_turn(np.where(gaps > least + WINDOW, -np.inf, wide), kinds, count)
    wide[kept] = -np.inf
    return kept + best_in_turn(wide, kinds, count - len(kept))


def best_in_turn(scores: Array, kinds: Sequence[Sequence[object]], count: int) -> list[int]:
    """Return the questions to keep, each group in turn naming its best, the best first.

    A change moves the questions between the same two answers alike, and may move them little: a
    second of a kind is kept where no group has another kind left, then a third and fourth, and so
    on.

    Args:
        scores: (N, G) of each question for each group; -inf: not to be kept for it.
        kinds: (N, G) of each question in each group.
        count: most that are kept.
    """
    orders = [
        [index for index in order if scores[index, place] > -np.inf]
        for place, order in enumerate(np.argsort(-scores, axis=0, kind="stable").T.tolist())
    ]  # (G, <= N)
    kept: dict[int, object] = {}
    most = 1
    while len(kept) < min(count, len({index for order in orders for index in order})):
        before = len(kept)
        for place, order in enumerate(orders):
            alike = Counter(kept.values())
            free = (
                index
                for index in order
                if index not in kept and alike[(place, kinds[index][place])] < most
            )
            best = next(free, None)
            if best is not None and len(kept) < count:
                kept[best] = (place, kinds[best][place])
        most *= 1 if len(kept) > before else 2
    return list(kept)
