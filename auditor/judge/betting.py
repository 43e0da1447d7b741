"""Is an endpoint still the same model? A test by betting, valid whenever it is stopped.

A cell is one question under one decoding, its answers are a few short texts and "any other". The
null hypothesis is *deployments*, not one deployment: the same weights under another number type,
engine, batch size or template answer a little differently, and a test against one distribution
alarms on all of them. So an honest deployment is one that gives no answer of a cell more often than
a ceiling: the most that any pass of the baseline gave it, and a margin.

Against each answer k with ceiling c there is a bet of a share s of the wealth, which multiplies it
by 1 + s (1 - c) / c where k is given and by 1 - s where it is not: by 1 on average at the ceiling,
by less below it. The wealth of a mixture of such bets is a non-negative supermartingale under the
null, so it ever reaches 1 / alpha with probability alpha at most (Ville 1939; Shafer 2021, "Testing
by betting", eq. 2; Waudby-Smith & Ramdas 2024, arXiv 2010.09686, section 4).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.errors import InputError
from auditor.judge.rates import clopper_pearson
from auditor.types import Array

STRENGTHS = (0.1, 0.3, 0.6, 0.9)
"""Shares of the wealth that are bet; each strength is kept in all cells, and the wealth is their
mean: the strength that suits a change is not known before it."""
FLOOR = 0.02
"""Least margin above the passes, as a probability."""
_USELESS = 0.95
"""A bet against an answer with a ceiling above this wins too little to be made."""
_CONFIDENCE = 0.999
"""Of the upper limit of a probability that was estimated from draws."""
_FIRST_ROUNDS = 2
"""Times that every cell is asked before those that moved are asked more often."""


def ceilings(passes: Array, draws: Sequence[int | None], floor: float = FLOOR) -> Array:
    """Return (K,) the most often that an honest deployment gives each answer of a cell.

    The largest upper limit of the passes, plus how far the passes lie apart, or `floor` where that
    is more. The limit of a pass that was drawn is that of Clopper & Pearson at 99.9 %.

    Args:
        passes: (M, K) probability of each answer in each pass.
        draws: of each pass, how many answers its probabilities are counted from; None: exact.
        floor: least margin.

    Raises:
        InputError: there is no pass, or its probabilities do not add up to 1.
    """
    if not len(passes) or not np.allclose(passes.sum(axis=1), 1.0, atol=1e-6):
        raise InputError("the probabilities of a pass do not add up to 1")
    upper = np.stack([_upper(row, count) for row, count in zip(passes, draws, strict=True)])
    spread = passes.max(axis=0) - passes.min(axis=0)
    return np.minimum(1.0, upper.max(axis=0) + np.maximum(floor, spread))


def _upper(shares: Array, count: int | None) -> Array:
    if count is None:
        return shares
    level = 2.0 * _CONFIDENCE - 1.0  # its upper limit is that of one side
    given = np.rint(shares * count).astype(int).tolist()
    return np.array([clopper_pearson(one, count, level)[1] for one in given])


def headroom(passes: Array, limits: Array) -> float:
    """Return how well a cell shows a change, in [0, 1]: the mean room above the answers' ceilings.

    Near 0 where one answer is always given and where the passes lie apart; largest where several
    answers are about as likely in every pass.
    """
    return float((passes.mean(axis=0) * (1.0 - limits)).sum())


class Wager:
    """The wealth of the bets, from 1, updated by one answer at a time."""

    def __init__(self, limits: Sequence[Array]) -> None:
        """Bet on nothing yet.

        Args:
            limits: of each cell, (K,) the ceilings of its answers; the last is "any other".

        Raises:
            InputError: there is no cell, or a ceiling outside (0, 1].
        """
        if not limits or any(np.any((cell <= 0) | (cell > 1)) for cell in limits):
            raise InputError("a ceiling lies outside (0, 1], or there is no cell")
        self._limits = [np.asarray(cell, dtype=np.float64) for cell in limits]
        self._prior = [_prior(cell) for cell in self._limits]
        self._log = [np.zeros((len(STRENGTHS), len(cell))) for cell in self._limits]
        self._rows = np.zeros((len(limits), len(STRENGTHS)))
        """(C, S) logarithm of the wealth of each cell at each strength."""
        self.asked = np.zeros(len(limits), dtype=np.int64)
        """(C,) answers seen of each cell."""

    def add(self, cell: int, answer: int) -> float:
        """Take one answer into account; return log10 of the wealth after it."""
        limits = self._limits[cell]
        for row, strength in enumerate(STRENGTHS):
            self._log[cell][row] += math.log1p(-strength)
            won = math.log1p(strength * (1.0 - limits[answer]) / limits[answer])
            self._log[cell][row, answer] += won - math.log1p(-strength)
        self._rows[cell] = self._of_cell(cell)
        self.asked[cell] += 1
        return self.log10_wealth

    @property
    def log10_wealth(self) -> float:
        """Base-10 logarithm of the wealth now."""
        mean = np.logaddexp.reduce(self._rows.sum(axis=0)) - math.log(len(STRENGTHS))
        return float(mean / math.log(10.0))

    def log10_of_cells(self) -> Array:
        """Return (C,) base-10 logarithms of the wealth that each cell alone would have made."""
        found = np.logaddexp.reduce(self._rows, axis=1) - math.log(len(STRENGTHS))
        return np.asarray(found / math.log(10.0))

    def next_cell(self) -> int:
        """Return the cell to ask next, from the past alone: so the wealth stays a valid test.

        Every cell some times, then in turn one that was asked least and the one that moved most.
        """
        least = int(self.asked.argmin())
        if self.asked[least] < _FIRST_ROUNDS or self.asked.sum() % 2:
            return least
        return int(self.log10_of_cells().argmax())

    def _of_cell(self, cell: int) -> Array:
        """Return (S,) the logarithm of the mean over the answers that are bet on."""
        prior = self._prior[cell]
        if not prior.any():
            return np.zeros(len(STRENGTHS))
        kept = prior > 0
        found = np.logaddexp.reduce(self._log[cell][:, kept] + np.log(prior[kept]), axis=1)
        return np.asarray(found)


def _prior(limits: Array) -> Array:
    """Return (K,) how the stake of a cell is split: half on "any other", the rest evenly."""
    useful = limits <= _USELESS
    prior = np.where(useful, 1.0, 0.0)
    named = prior[:-1].sum()
    if useful[-1] and named:
        prior[-1] = named
    return prior / prior.sum() if prior.any() else prior


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How soon a change of a given size would be seen."""

    moved: float
    """Share of the answers of every cell that go to another answer."""
    share: float
    """Of simulated watches that saw it."""
    queries: int | None
    """Median number of queries; None where fewer than half saw it."""


def power(
    usual: Sequence[Array],
    limits: Sequence[Array],
    moved: float,
    *,
    log10_alarm: float,
    queries: int,
    runs: int = 200,
) -> Seen:
    """Return how soon a deployment that gives `moved` of each cell's answers otherwise is seen.

    The answer that gains is drawn anew for every cell and run, "any other" among them.

    Args:
        usual: of each cell, (K,) the mean probabilities of the passes.
        limits: of each cell, (K,) the ceilings.
        moved: in [0, 1].
        log10_alarm: base-10 logarithm of the wealth at which a change is called.
        queries: most that are asked.
        runs: simulated watches.
    """
    draw = np.random.RandomState(0)
    found = []
    for _ in range(runs):
        changed = [_changed(row, moved, draw) for row in usual]
        wager, asked = Wager(limits), 0
        while asked < queries and wager.log10_wealth < log10_alarm:
            cell = wager.next_cell()
            wager.add(cell, int(draw.choice(len(changed[cell]), p=changed[cell])))
            asked += 1
        found.append(asked if wager.log10_wealth >= log10_alarm else math.inf)
    middle = float(np.median(found))
    share = float(np.isfinite(found).mean())
    return Seen(moved=moved, share=share, queries=int(middle) if math.isfinite(middle) else None)


def _changed(usual: Array, moved: float, draw: np.random.RandomState) -> Array:
    changed = usual * (1.0 - moved)
    changed[draw.randint(len(usual))] += moved
    return np.asarray(changed / changed.sum())
