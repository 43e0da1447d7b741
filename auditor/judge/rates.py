"""Error rates with their intervals: counts of families, exact binomial limits.

A rate of 0 of n is no proof of 0: its upper 95 % limit is about 3/n one-sided (Clopper & Pearson
1934), and n counts families, because several models of one family err together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.judge.assess import auc, separation, tpr_at_fpr
from auditor.judge.bootstrap import LEVEL, Draws, Interval, class_families, family_interval
from auditor.judge.calibrate import Scored
from auditor.types import Array

THRESHOLDS = (1.0, 10.0, 100.0)
"""Likelihood ratios at which misleading evidence is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of control families."""

    count: int
    families: int
    interval: Interval
    """95 %, Clopper & Pearson, two-sided."""

    @property
    def value(self) -> float:
        """The share, in [0, 1]."""
        return self.count / self.families


def rate(count: int, families: int) -> Rate:
    """Return a share with its exact limits.

    Raises:
        UndefinedError: no families.
    """
    return Rate(count=count, families=families, interval=clopper_pearson(count, families))


def clopper_pearson(count: int, total: int, level: float = LEVEL) -> Interval:
    """Return the exact limits of a binomial share, two-sided at `level` (Clopper & Pearson 1934).

    Raises:
        UndefinedError: `total` is 0, or `count` is not within 0..total.
    """
    from scipy.special import betaincinv

    if not 0 <= count <= total or total == 0:
        raise UndefinedError(f"{count} of {total} is no share")
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, total - count + 1, tail))
    high = 1.0 if count == total else float(betaincinv(count + 1, total - count, 1 - tail))
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Misleading:
    """What goes wrong on each side at one likelihood ratio.

    A family counts where any of its members errs.
    """

    lr: float
    false_support: Rate
    """Families of the second class with an LR above it: support for what is not so."""
    false_exclusion: Rate
    """Families of the first class with an LR under its inverse."""
    missed: Rate
    """Families of the first class with an LR not above it: no support for what is so."""


def misleading(
    controls: Scored, families: Sequence[str], thresholds: Sequence[float] = THRESHOLDS
) -> tuple[Misleading, ...]:
    """Return the rates of misleading evidence (Royall 1997) at each likelihood ratio.

    Args:
        controls: log10 LRs, each from a calibration that did not see its family.
        families: the family of each.
        thresholds: likelihood ratios >= 1.
    """
    found = []
    for lr in thresholds:
        limit = float(np.log10(lr))
        above = controls.values > limit
        found.append(
            Misleading(
                lr=lr,
                false_support=_families(above, ~controls.first, families),
                false_exclusion=_families(controls.values < -limit, controls.first, families),
                missed=_families(~above, controls.first, families),
            )
        )
    return tuple(found)


def _families(wrong: Array, rows: Array, families: Sequence[str]) -> Rate:
    names = np.asarray(families)
    return rate(len(np.unique(names[wrong & rows])), len(np.unique(names[rows])))


def auc_interval(controls: Scored, families: Sequence[str], draws: Draws) -> Interval:
    """Return the 95 % interval of `auc` over families.

    With perfect separation resampling gives [1, 1]. The lower limit is then that of the smaller
    number of families: so many disjoint pairs of a linked and an unlinked family were all in order
    (pairs that share a model are not independent: evidence.md finding 3). Reversed for an AUC of 0.
    """
    order = separation(controls)
    if order == 0:
        return family_interval(auc, controls, families, draws)
    pairs = min(class_families(controls, families))
    return clopper_pearson(pairs if order > 0 else 0, pairs)


def tpr_interval(
    controls: Scored, families: Sequence[str], draws: Draws, fpr: float = 0.01
) -> Interval:
    """Return the 95 % interval of `tpr_at_fpr` over families.

    The wider of resampling, which moves the threshold too, and of the exact limits at the threshold
    found, which hold where every family passes or none does.
    """
    low, high = family_interval(lambda some: tpr_at_fpr(some, fpr), controls, families, draws)
    linked, _ = class_families(controls, families)
    exact = clopper_pearson(round(tpr_at_fpr(controls, fpr) * linked), linked)
    return min(low, exact[0]), max(high, exact[1])
