"""Is an endpoint still the same model? A test by betting, valid whenever it is stopped.

The wealth of a mixture of the bets of `auditor.judge.betting` is a non-negative supermartingale
under the null, so it ever reaches 1 / alpha with probability alpha at most (Ville 1939; Shafer
2021, "Testing by betting", eq. 2). Over groups the least wealth counts: whichever group is the true
one, its wealth is no less.

Each answer that bears a deployment out lowers the stakes against it. Bets that began long before a
change have lost most of them by then, so every `RESTART` answers the same bets begin once more with
a wealth of 1, as an e-detector sums e-processes that start one after the other (Shin, Ramdas &
Rinaldo 2024, arXiv 2203.03532). There each has weight 1, which bounds how often false alarms come;
here start k, from 0, has weight 1 / ((k + 1)(k + 2)), which bounds whether one ever comes. The
weights add up to 1 over all starts, and to 1 - 1 / (K + 1) over the first K: what is left is kept
for starts to come. A start has a wealth of 1 until it comes, and when it comes follows from the
number of answers alone: so each is a supermartingale from the first answer on, and so is their sum
with these weights, which is 1 at first. Ville's inequality holds for the whole watch, however long.
"""

from collections.abc import Sequence

import numpy as np

from auditor.errors import InputError
from auditor.judge.betting import MOVED, Cell, payoffs
from auditor.types import Array

RESTART = 50
"""Answers after which the bets begin once more."""
_IN_TURN = 4
"""Every so many questions the cell is asked that was asked least, however it did."""


class _Bets:
    """What is bet on the answers of a cell, and what is staked before any is seen."""

    def __init__(self, cell: Cell) -> None:
        wanted, prior = cell.alternatives()
        pairs = [payoffs(row, cell.usual, cell.limits) for row in wanted]
        # the first is no bet: the stake is kept
        self.bets = np.stack([cell.usual, *(bet for bet, _ in pairs)])  # (A, K)
        self.pays = np.stack([np.ones(len(cell.usual)), *(pays for _, pays in pairs)])  # (A, K)
        self.log_pays = np.log(self.pays)
        kept = 1.0 - prior.sum()
        with np.errstate(divide="ignore"):  # an answer that is not bet on
            rows = [[1.0 - m + m * kept, *(m * prior)] for m in MOVED]
            self.log_prior = np.log(rows)  # (R, A)
        self.first_growth = self.growth(self.log_prior)

    def growth(self, log_stakes: Array) -> Array:
        """Return (R,) the nats that the next answer is expected to add to (R, A) stakes."""
        share = np.exp(log_stakes - np.logaddexp.reduce(log_stakes, axis=1)[:, None])
        return np.asarray(((share @ self.bets) * np.log(share @ self.pays)).sum(axis=1))


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
        self._cells = [_Bets(cell) for cell in cells]
        self._log_stakes = [bets.log_prior[None][:0] for bets in self._cells]
        """Of each cell, (S, R, A) of each start."""
        self._rows = np.zeros((len(cells), 0, len(MOVED)))
        """(C, S, R) logarithm of the wealth of each cell, were that share of the cells moved."""
        self.log10_wealth = 0.0
        """Base-10 logarithm of the wealth now."""
        self.asked = np.zeros(len(cells), dtype=np.int64)
        """(C,) answers seen of each cell."""
        self._start()

    def _start(self) -> None:
        """Begin the same bets once more, with a wealth of 1."""
        self._log_stakes = [
            np.concatenate([stakes, bets.log_prior[None]])
            for stakes, bets in zip(self._log_stakes, self._cells, strict=True)
        ]
        fresh = np.zeros((len(self._cells), 1, len(MOVED)))
        self._rows = np.concatenate([self._rows, fresh], axis=1)
        self._log_weights = log_weights(self._rows.shape[1])
        self._growth = np.stack([bets.first_growth for bets in self._cells])
        """(C, R) nats that the next question of a cell is expected to add to the newest start."""
        self._stale: set[int] = set()
        """Cells whose growth is to be computed before it is read."""

    def add(self, cell: int, answer: int) -> float:
        """Take one answer into account; return log10 of the wealth after it."""
        pays = self._cells[cell].log_pays[:, answer]
        self._log_stakes[cell] = self._log_stakes[cell] + pays
        self._rows[cell] = np.logaddexp.reduce(self._log_stakes[cell], axis=2)
        self._stale.add(cell)
        self.asked[cell] += 1
        self.log10_wealth = float(self._log10(self._rows.sum(axis=0)))
        if self.asked.sum() % RESTART == 0:  # so when follows from the past
            self._start()
        return self.log10_wealth

    def log10_of_cells(self) -> Array:
        """Return (C,) base-10 logarithms of the wealth that each cell alone would have made."""
        return self._log10(self._rows)

    def _log10(self, rows: Array) -> Array:
        """Return base-10 logarithms of the wealth of all starts, from (..., S, R)."""
        started = np.logaddexp.reduce(rows, axis=-1) - np.log(len(MOVED))
        later = np.zeros((*started.shape[:-1], 1))  # those that are to come
        every = np.concatenate([started, later], axis=-1) + self._log_weights
        return np.asarray(np.logaddexp.reduce(every, axis=-1) / np.log(10.0))

    def next_cell(self) -> int:
        """Return the cell to ask next, from the past alone: so the wealth stays a valid test.

        That which is expected to add most to the newest start, if what its bets have won so far is
        their probability; every fourth time the one that was asked least, the first of them.
        """
        for index in self._stale:
            self._growth[index] = self._cells[index].growth(self._log_stakes[index][-1])
        self._stale.clear()
        least = int(self.asked.argmin())
        total = self._rows[:, -1].sum(axis=0)
        share = np.exp(total - np.logaddexp.reduce(total))
        expected = self._growth @ share
        best = int(expected.argmax())
        in_turn = self.asked.sum() % _IN_TURN == _IN_TURN - 1
        return least if in_turn or expected[best] <= 0.0 else best


def log_weights(starts: int) -> Array:
    """Return (S + 1,) natural logarithms of the weight of each start, and of all that are to come.

    Args:
        starts: S, that have begun.
    """
    count = np.arange(1.0, starts + 1.0)
    return -np.log(np.append(count * (count + 1.0), starts + 1.0))


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
