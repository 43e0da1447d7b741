"""Is an endpoint still the same model? A test by betting, valid whenever it is stopped.

A cell is one question under one decoding, its answers are a few short texts and "any other". The
null hypothesis is *deployments*, not one deployment: the same weights under another number type,
engine, batch size or template answer a little differently, and a test against one distribution
alarms on all of them. An honest deployment is one that belongs to a group (the deployments that
put the same message before the question) and gives no answer of a cell more often than the group's
ceiling: the most that any pass of the group gave it, and a margin.

Against the group stand alternatives, each a distribution q of the answers of a cell. The bet on one
pays q / p*, where p* is the honest distribution nearest to q in relative entropy: 1 on average at
most under every honest one, and of all such bets the one whose wealth grows most under q (Grünwald,
de Heide & Koolen 2024, arXiv 1906.07801, theorem 1). The wealth of a mixture of such bets is a
non-negative supermartingale under the null, so it ever reaches 1 / alpha with probability alpha at
most (Ville 1939; Shafer 2021, "Testing by betting", eq. 2). Over groups the least wealth counts:
whichever group is the true one, its wealth is no less.
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
_IN_TURN = 4
"""Every so many questions the cell is asked that was asked least, however it did."""


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


class Wager:
    """The wealth of the bets against one group, from 1, updated by one answer at a time."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        """Bet on nothing yet.

        Raises:
            InputError: there is no cell, or the ceilings of one are outside (0, 1] or leave
                no honest distribution.
        """
        if not cells or any(_impossible(cell.limits) for cell in cells):
            raise InputError("a ceiling lies outside (0, 1], or there is no cell")
        self._bets, self._log_pays, self._log_stakes = [], [], []
        for cell in cells:
            wanted, prior = cell.alternatives()
            pairs = [payoffs(row, cell.usual, cell.limits) for row in wanted]
            # the first is no bet: the stake is kept
            self._bets.append(np.stack([cell.usual, *(bet for bet, _ in pairs)]))
            self._log_pays.append(
                np.log(np.stack([np.ones(len(cell.usual)), *(pays for _, pays in pairs)]))
            )
            kept = 1.0 - prior.sum()
            with np.errstate(divide="ignore"):  # an answer that is not bet on
                rows = [[1.0 - m + m * kept, *(m * prior)] for m in MOVED]
                self._log_stakes.append(np.log(rows))
        self._rows = np.zeros((len(cells), len(MOVED)))
        """(C, R) logarithm of the wealth of each cell, were that share of the cells moved."""
        self._growth = np.zeros((len(cells), len(MOVED)))
        """(C, R) nats that the next question of a cell is expected to add."""
        self._stale = set(range(len(cells)))
        """Cells whose growth is to be computed before it is read."""
        self.log10_wealth = 0.0
        """Base-10 logarithm of the wealth now."""
        self.asked = np.zeros(len(cells), dtype=np.int64)
        """(C,) answers seen of each cell."""

    def add(self, cell: int, answer: int) -> float:
        """Take one answer into account; return log10 of the wealth after it."""
        self._log_stakes[cell] = self._log_stakes[cell] + self._log_pays[cell][:, answer]
        self._rows[cell] = np.logaddexp.reduce(self._log_stakes[cell], axis=1)
        self._stale.add(cell)
        self.asked[cell] += 1
        mean = np.logaddexp.reduce(self._rows.sum(axis=0)) - np.log(len(MOVED))
        self.log10_wealth = float(mean / np.log(10.0))
        return self.log10_wealth

    def log10_of_cells(self) -> Array:
        """Return (C,) base-10 logarithms of the wealth that each cell alone would have made."""
        found = np.logaddexp.reduce(self._rows, axis=1) - np.log(len(MOVED))
        return np.asarray(found / np.log(10.0))

    def next_cell(self) -> int:
        """Return the cell to ask next, from the past alone: so the wealth stays a valid test.

        That which is expected to add most, if what the bets have won so far is their probability;
        every fourth time the one that was asked least, the first of them.
        """
        for index in self._stale:
            self._growth[index] = self._next_growth(index)
        self._stale.clear()
        least = int(self.asked.argmin())
        total = self._rows.sum(axis=0)
        share = np.exp(total - np.logaddexp.reduce(total))
        expected = self._growth @ share
        best = int(expected.argmax())
        in_turn = self.asked.sum() % _IN_TURN == _IN_TURN - 1
        return least if in_turn or expected[best] <= 0.0 else best

    def _next_growth(self, cell: int) -> Array:
        stakes = self._log_stakes[cell]
        share = np.exp(stakes - np.logaddexp.reduce(stakes, axis=1)[:, None])  # (R, A)
        expected = share @ self._bets[cell]
        pays = share @ np.exp(self._log_pays[cell])
        return np.asarray((expected * np.log(pays)).sum(axis=1))


def _impossible(limits: Array) -> bool:
    return bool(np.any((limits <= 0) | (limits > 1)) or limits.sum() < 1.0)


class Wagers:
    """The least wealth over groups of honest deployments, one of which is to be the true one."""

    def __init__(self, groups: Sequence[Sequence[Cell]]) -> None:
        """Bet on nothing yet.

        Args:
            groups: of each group, its cells: the same questions with the same answers.

        Raises:
            InputError: as `Wager`, or there is no group.
        """
        if not groups:
            raise InputError("there is no group of deployments")
        self.groups = [Wager(cells) for cells in groups]

    def add(self, cell: int, answer: int) -> float:
        """Take one answer into account; return log10 of the least wealth after it."""
        return min(group.add(cell, answer) for group in self.groups)

    @property
    def log10_wealth(self) -> float:
        """Base-10 logarithm of the least wealth now."""
        return min(group.log10_wealth for group in self.groups)

    @property
    def asked(self) -> Array:
        """(C,) answers seen of each cell."""
        return self.groups[0].asked

    @property
    def nearest(self) -> int:
        """The group with the least wealth, the first of them."""
        return int(np.argmin([group.log10_wealth for group in self.groups]))

    def next_cell(self) -> int:
        """Return the cell to ask next: what the group with the least wealth would ask."""
        return self.groups[self.nearest].next_cell()
