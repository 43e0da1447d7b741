"""What is bet on the answers of an endpoint that is to be the same model still.

A cell is one question under one decoding, its answers are a few short texts and "any other". The
null hypothesis is *deployments*, not one deployment: the same weights under another number type,
engine, batch size or template answer a little differently, and a test against one distribution
alarms on all of them. An honest deployment is one that belongs to a group (the deployments that
put the same message before the question) and gives no answer of a cell more often than the group's
ceiling: the most that any pass of the group gave it, and a margin.

Against the group stand alternatives, each a distribution q of the answers of a cell. The bet on one
pays q / p*, where p* is the honest distribution nearest to q in relative entropy: 1 on average at
most under every honest one, and of all such bets the one whose wealth grows most under q (Grünwald,
de Heide & Koolen 2024, arXiv 1906.07801, theorem 1). `auditor.judge.wagers` makes a test of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.errors import InputError
from auditor.judge.rates import clopper_pearson
from auditor.types import Array

FLOOR = 0.02
"""Least margin above the passes, as a probability."""
CAUTION = 0.02
"""Share of the usual answers in every bet: a single answer cannot lose all."""
MOVED = (0.9, 0.5, 0.15, 0.04)
"""Shares of the cells that a change moves; the wealth is the mean over them."""
_GAINS = ((0.95, 0.6), (0.5, 0.4))
"""What an answer that gains takes of the others, and how likely that is."""
_NEAR, _FAR, _OTHER = 0.25, 0.05, 0.2
"""Nats at temperature 1 at which an answer weighs 1 / e, the least that a named one weighs, and
what "any other" does; a tied one weighs 1."""
_CONFIDENCE = 0.999
"""Of the upper limit of a probability that was estimated from draws."""


def ceilings(
    passes: Array, draws: Sequence[int | None], noise: float = 0.0, floor: float = FLOOR
) -> Array:
    """Return (K,) the most often that an honest deployment gives each answer of a cell.

    The largest upper limit of the passes, and `floor` above it. The limit of exact probabilities
    lies `noise` above them in log-odds; that of a pass that was drawn is of Clopper & Pearson at
    99.9 %, and how far the passes lie apart where that is more than `floor`.

    Args:
        passes: (M, K) probability of each answer in each pass.
        draws: of each pass, how many answers its probabilities are counted from; None: exact.
        noise: nats by which the log-odds of an answer differ between honest deployments.
        floor: least margin.

    Raises:
        InputError: there is no pass, or its probabilities do not add up to 1.
    """
    if not len(passes) or not np.allclose(passes.sum(axis=1), 1.0, atol=1e-6):
        raise InputError("the probabilities of a pass do not add up to 1")
    upper = np.stack([_upper(row, n, noise) for row, n in zip(passes, draws, strict=True)])
    drawn = any(count is not None for count in draws)
    spread = passes.max(axis=0) - passes.min(axis=0) if drawn else 0.0
    return np.asarray(np.minimum(1.0, upper.max(axis=0) + np.maximum(floor, spread)))


def _upper(shares: Array, count: int | None, noise: float) -> Array:
    if count is None:
        raised = shares * np.exp(noise)
        return np.asarray(raised / (raised + 1.0 - shares))
    level = 2.0 * _CONFIDENCE - 1.0  # its upper limit is that of one side
    given = np.rint(shares * count).astype(int).tolist()
    return np.array([clopper_pearson(one, count, level)[1] for one in given])


def nearest_honest(wanted: Array, limits: Array) -> Array:
    """Return (K,) the honest distribution from which `wanted` diverges least.

    min(limits, a x wanted) with a such that it adds up to 1: what exceeds its ceiling is cut, the
    rest is raised in proportion. The conditions of Karush, Kuhn and Tucker for the least
    sum wanted log(wanted / p) over p <= limits, sum p = 1.

    Args:
        wanted: (K,) probabilities, all above 0.
        limits: (K,) ceilings, in (0, 1], which add up to 1 or more.
    """
    order = np.argsort(limits / wanted)  # in which they reach their ceilings as a grows
    kept, room = 1.0 - np.cumsum(wanted[order]), 1.0 - np.cumsum(limits[order])
    scale = 1.0
    for place, index in enumerate(order):
        if scale * wanted[index] <= limits[index] or kept[place] <= 0:
            break
        scale = room[place] / kept[place]
    return np.asarray(np.minimum(limits, scale * wanted))


def payoffs(wanted: Array, usual: Array, limits: Array) -> tuple[Array, Array]:
    """Return (K,) what is bet on and (K,) by what each answer multiplies the stake.

    Args:
        wanted: (K,) the alternative.
        usual: (K,) mean of the passes, of which `CAUTION` is mixed in.
        limits: (K,) ceilings.
    """
    mixed = (1.0 - CAUTION) * wanted + CAUTION * usual
    bet = np.maximum(mixed, 1e-6)
    bet /= bet.sum()
    return bet, bet / nearest_honest(bet, limits)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """A question as one group of deployments answers it."""

    usual: Array
    """(K,) mean of the passes; the last answer is "any other"."""
    limits: Array
    """(K,) ceilings."""
    weights: Array
    """(K,) prior probability that a change of the cell makes that answer gain, adding up to 1 at
    most; what is missing to 1 is not bet. See `gaining`."""

    def alternatives(self) -> tuple[Array, Array]:
        """Return (A, K) bets that an answer gains, more or less, and (A,) their prior weights."""
        answers = np.eye(len(self.usual))
        gains = [(1.0 - share) * self.usual + share * answers for share, _ in _GAINS]
        weights = [part * self.weights for _, part in _GAINS]
        return np.concatenate(gains), np.concatenate(weights)


def gaining(usual: Array, limits: Array, temperature: float) -> Array:
    """Return (K,) the prior weights of a cell, the more the nearer an answer is to a tie.

    A small change of a model moves every logit a little: it gives a tie to the other answer, and
    leaves what is won by a nat as it is. A swap may do anything.

    Args:
        usual: (K,) mean of the passes; the last answer is "any other".
        limits: (K,) ceilings.
        temperature: at which the answers are drawn.
    """
    nats = temperature * np.log(usual.max() / np.maximum(usual, 1e-300))
    found = np.maximum(np.exp(-nats / _NEAR), _FAR)
    found[-1] = _OTHER
    found[limits >= 1.0] = 0.0  # nothing can be won there
    return np.asarray(found / max(1.0, found.sum()))
