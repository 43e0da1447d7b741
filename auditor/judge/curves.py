"""The points of the validation plots: Tippett, empirical cross-entropy (ECE) and PAV.

Points, not pictures: the report draws them, and a table of them stands beside each plot.
"""

import math
from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.judge.calibrate import SIDES, Scored, pav_log10_lr
from auditor.types import Array

PRIORS = tuple(step / 10 for step in range(-30, 31))
"""log10 prior odds of the ECE plot."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tippett:
    """For each class, the share of its controls whose log10 LR is at least x."""

    first: tuple[Array, Array]
    """(x, share), x ascending: the distinct values of that class."""
    second: tuple[Array, Array]


def tippett(controls: Scored) -> Tippett:
    """Return the Tippett curves; shares are of the weight of the class, from 1 downwards."""
    curves = []
    for side in SIDES:
        rows = controls.first == side
        values, index = np.unique(controls.values[rows], return_inverse=True)
        weight = np.bincount(index, controls.weights[rows], len(values))
        curves.append((values, np.cumsum(weight[::-1])[::-1] / weight.sum()))
    return Tippett(first=curves[0], second=curves[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmpiricalCrossEntropy:
    """The cost of a decision maker's posterior, in bits, at each prior."""

    log10_prior_odds: Array
    """(m,)."""
    lr: Array
    """(m,) with these likelihood ratios."""
    pav: Array
    """(m,) after the best monotone recalibration."""
    ignored: Array
    """(m,) with every LR 1: the entropy of the prior. Above it, the LRs do harm."""


def empirical_cross_entropy(controls: Scored) -> EmpiricalCrossEntropy:
    """Return the ECE at `PRIORS` (Ramos & Gonzalez-Rodriguez 2013).

    ``-P(1) mean log2 P(1 | LR) - P(2) mean log2 P(2 | LR)``, each mean over its own class. At prior
    odds 1 it is Cllr.

    Raises:
        UndefinedError: an LR of 0 or infinity is wrong, so that the cost is infinite.
    """
    odds = np.array(PRIORS)
    values = (controls.values, pav_log10_lr(controls), np.zeros(len(controls.values)))
    lr, pav, ignored = (_ece(log10_lr, controls, odds) for log10_lr in values)
    if not np.isfinite(lr).all():
        raise UndefinedError("a likelihood ratio of 0 or infinity is wrong: the cost is infinite")
    return EmpiricalCrossEntropy(log10_prior_odds=odds, lr=lr, pav=pav, ignored=ignored)


def _ece(log10_lr: Array, controls: Scored, log10_odds: Array) -> Array:
    posterior = (log10_odds[:, None] + log10_lr) * math.log(10.0)  # (m, n), natural log odds
    first = controls.first
    nats = np.where(first, np.logaddexp(0.0, -posterior), np.logaddexp(0.0, posterior))
    odds = 10.0**log10_odds
    means = []
    for side in SIDES:
        rows = controls.first == side
        weights = controls.weights[rows]
        means.append((nats[:, rows] * weights).sum(axis=1) / weights.sum())
    return (means[0] * odds + means[1]) / (1.0 + odds) / math.log(2.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recalibration:
    """The PAV plot: each control's log10 LR and what the best monotone calibration makes of it."""

    log10_lr: Array
    """(n,) ascending."""
    pav: Array
    """(n,) non-decreasing; ``-inf`` and ``inf`` at the ends, to be drawn at the frame."""
    first: Array
    """(n,) bool."""


def recalibration(controls: Scored) -> Recalibration:
    """Return the points of the PAV plot; on the diagonal the ratios are calibrated."""
    order = np.argsort(controls.values, kind="stable")
    pav = pav_log10_lr(controls)
    return Recalibration(
        log10_lr=controls.values[order], pav=pav[order], first=controls.first[order]
    )
