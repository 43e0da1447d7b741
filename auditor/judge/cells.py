"""Which questions a watch asks, and how each group of honest deployments may answer them.

Those whose answers hold still among honest deployments and move in coarser copies of the weights.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.judge.betting import Cell, ceilings, growth
from auditor.types import Array

Answers = Mapping[str, float]
"""Probability of each answer; what is missing to 1 is any other."""
_LIKELY = 0.02
_NAMED = 6
"""Answers of a cell that are told apart; all others count as one."""
_TIED = (0.01, 0.99)
"""Probabilities between which log-odds tell how far two passes lie apart."""
_NOISE_QUANTILE = 0.99
_SAME = 0.7
"""Share of large changes that have the same sign under another rounding, and less: 0.73, 0.88 and
0.93 were measured on three models."""
_LEAST = 1e-4
"""Of a probability, in a ratio of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What deployments that put the same message before a question answer to it."""

    passes: Sequence[Answers]
    draws: Sequence[int | None]
    """Of each pass, the answers that its probabilities are counted from; None: exact."""
    copies: Sequence[Answers] = ()
    """Of the model with coarser weights."""


def names_of(groups: Sequence[Group]) -> list[str]:
    """Return the likely answers of passes and copies, those that are likeliest in any first."""
    most: dict[str, float] = {}
    for group in groups:
        for row in (*group.passes, *group.copies):
            for text, share in row.items():
                most[text] = max(most.get(text, 0.0), share)
    likely = sorted((text for text in most if most[text] >= _LIKELY), key=lambda t: (-most[t], t))
    return likely[:_NAMED]


def table(rows: Sequence[Answers], names: Sequence[str]) -> Array:
    """Return (M, K + 1) probabilities of the named answers and of any other."""
    named = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    named = named.reshape(len(rows), len(names))
    found = np.column_stack([named, np.maximum(0.0, 1.0 - named.sum(axis=1))])
    return np.asarray(found / found.sum(axis=1, keepdims=True))  # rounding


def cells_of(groups: Sequence[Group], names: Sequence[str], noise: float) -> list[Cell]:
    """Return a question as each group answers it; the copies of all groups are bet on in each.

    A changed model with one system message may answer as the unchanged one with another does.

    Args:
        groups: their passes and copies.
        names: answers that are told apart.
        noise: nats, see `honest_noise`.
    """
    moved = [_changed(group, names) for group in groups]
    changed = np.concatenate(moved)
    weights = np.concatenate([_weights(len(rows)) for rows in moved])
    weights /= max(1, sum(len(rows) > 0 for rows in moved))
    found = []
    for group in groups:
        passes = table(group.passes, names)
        limits = ceilings(passes, group.draws, noise)
        usual = passes.mean(axis=0)
        found.append(Cell(usual=usual, limits=limits, changed=changed, weights=weights))
    return found


def _changed(group: Group, names: Sequence[str]) -> Array:
    """Return (J, K) how the copies of a group answer, then the opposite of each change.

    The same rounding in other groups of columns moves an answer as far, but not always in the same
    direction: each copy stands for its change of the log-probabilities and for the opposite one.
    """
    usual = np.maximum(table(group.passes, names).mean(axis=0), _LEAST)
    if not group.copies:
        return np.zeros((0, len(usual)))
    copies = table(group.copies, names)
    opposite = usual * np.exp(-np.log(np.maximum(copies, _LEAST) / usual))
    return np.concatenate([copies, opposite / opposite.sum(axis=1, keepdims=True)])


def _weights(count: int) -> Array:
    """Return (count,) weights of the rows of `_changed`."""
    return np.repeat([_SAME, 1.0 - _SAME], count // 2) / max(1, count // 2)


def honest_noise(pairs: Sequence[tuple[Answers, Answers]]) -> float:
    """Return nats of log-odds that 99 % of answers stay within from one honest pass to another.

    Over all candidates: a question is chosen because its passes lie near each other, so they do
    not tell how far other deployments will lie from them.

    Args:
        pairs: what two deployments of a group answer to a question.
    """
    apart = [
        abs(_log_odds(one[text]) - _log_odds(other[text]))
        for one, other in pairs
        for text in one
        if text in other and all(_TIED[0] <= row[text] <= _TIED[1] for row in (one, other))
    ]
    return float(np.quantile(apart, _NOISE_QUANTILE)) if apart else 0.0


def _log_odds(share: float) -> float:
    return float(np.log(share) - np.log1p(-share))


def headroom(passes: Array, limits: Array) -> float:
    """Return how well a cell shows a change, in [0, 1]: the mean room above the answers' ceilings.

    Near 0 where one answer is always given and where the passes lie apart; largest where several
    answers are about as likely in every pass.
    """
    return float((passes.mean(axis=0) * (1.0 - limits)).sum())


def scores(groups: Sequence[Group], names: Sequence[str], noise: float) -> list[float]:
    """Return how well a question shows changes of each group.

    For each group two numbers: nats that its answer adds to the least wealth on average if its
    copies were watched, and if the opposite of their change was. Apart, because a question that
    shows one hides the other: both kinds are to be asked. Without copies one number, the headroom,
    which is in [0, 1].
    """
    cells = cells_of(groups, names, noise)
    if not any(group.copies for group in groups):
        rows = zip(groups, cells, strict=True)
        return [headroom(table(group.passes, names), cell.limits) for group, cell in rows]
    return [
        _least_growth(rows, cells)
        for group in groups
        if group.copies
        for rows in np.split(_changed(group, names), 2)
    ]


def _least_growth(changed: Array, cells: Sequence[Cell]) -> float:
    each = [[growth(row, cell.usual, cell.limits) for row in changed] for cell in cells]
    return float(np.mean(each, axis=1).min())


def kind(group: Group) -> tuple[str, ...]:
    """Return the two likeliest answers of the first pass, the likelier first."""
    row = group.passes[0]
    return tuple(sorted(row, key=lambda text: (-row[text], text))[:2])


def best_in_turn(scores: Array, kinds: Sequence[object], count: int) -> list[int]:
    """Return the questions to keep, each change in turn naming its best, the best first.

    A change moves questions between the same two answers alike, and may move them all little: a
    quarter of the questions at most is of a kind, as long as there are others.

    Args:
        scores: (N, G) of each question for each change of each group.
        kinds: (N,) of each question.
        count: most that are kept.
    """
    orders = np.argsort(-scores, axis=0, kind="stable").T.tolist()  # (G, N)
    kept: list[int] = []
    for most in (-(-count // 4), count):
        for turn in range(2 * count):
            order = orders[turn % len(orders)]
            alike = Counter(kinds[index] for index in kept)
            free = (i for i in order if i not in kept and alike[kinds[i]] < most)
            best = next(free, None)
            if best is not None and len(kept) < count:
                kept.append(best)
    return kept
