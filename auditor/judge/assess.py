"""How good likelihood ratios are, on controls whose class is known and whose family was left out.

Costs are in bits and class-balanced: 0 is perfect, 1 is "no opinion" (every LR 1), more than 1 does
harm. Families are the unit: members of one family share its weight. Every function takes `Scored`
values (`auditor.judge.calibrate.scored`), here base-10 logarithms of likelihood ratios; only their
order matters to `auc` and `tpr_at_fpr`, which take any score.

Agrees with ``lir`` where that defines the quantity.
"""

import math

import numpy as np

from auditor.errors import UndefinedError
from auditor.judge.calibrate import Scored, pav_log10_lr
from auditor.types import Array


def cllr(controls: Scored) -> float:
    """Return the log-likelihood-ratio cost, in bits (Brümmer & du Preez 2006).

    Half the mean of ``log2(1 + 1/LR)`` where the first proposition holds plus half the mean of
    ``log2(1 + LR)`` where the second does. Infinite where an LR of 0 or infinity is wrong.
    """
    return _cllr(controls.values, controls)


def cllr_min(controls: Scored) -> float:
    """Return the cost that remains after the best monotone recalibration (PAV), in [0, 1].

    What the scores could have told apart: discrimination without calibration.
    """
    return _cllr(pav_log10_lr(controls), controls)


def cllr_cal(controls: Scored) -> float:
    """Return ``cllr - cllr_min``, the cost of miscalibration, >= 0."""
    return cllr(controls) - cllr_min(controls)


def _cllr(log10_lr: Array, controls: Scored) -> float:
    # log2(1 + e^x) without overflow; towards the wrong side for each class.
    wrong = np.where(controls.first, -log10_lr, log10_lr) * math.log(10.0)
    bits = np.logaddexp(0.0, wrong) / math.log(2.0)
    return float((controls.weights * bits).sum() / controls.weights.sum())


def dev_pav(controls: Scored) -> float:
    """Return the mean distance of the PAV curve from the identity, in log10, >= 0; 0 is calibrated.

    Vergeer et al. 2021 (devPAV): the area between the PAV transform, drawn as a line through its
    finite points, and the diagonal, over the range of those points.

    Raises:
        UndefinedError: the classes are separated, so that PAV has no finite point; or an LR is 0 or
            infinite.
    """
    if not np.isfinite(controls.values).all():
        raise UndefinedError("devPAV needs finite likelihood ratios")
    pav = pav_log10_lr(controls)
    points = np.unique(np.stack([controls.values, pav])[:, np.isfinite(pav)], axis=1)
    if not points.shape[1]:
        raise UndefinedError("devPAV has no value: the classes are perfectly separated")
    x, off = points[0], points[1] - points[0]
    if len(x) == 1:
        return abs(float(off[0]))
    left, right = np.abs(off[:-1]), np.abs(off[1:])
    crosses = off[:-1] * off[1:] < 0
    # Two triangles where the line crosses the diagonal, otherwise one trapezium.
    total = np.where(left + right > 0, left + right, 1.0)
    heights = np.where(crosses, (left**2 + right**2) / (2 * total), (left + right) / 2)
    return float((heights * np.diff(x)).sum() / (x[-1] - x[0]))


def auc(controls: Scored) -> float:
    """Return the chance that a first-class score is above a second-class one, ties half.

    Mann & Whitney 1947, each score with its weight; in [0, 1], 0.5 is chance.
    """
    order = separation(controls)
    if order != 0:
        return float(order > 0)  # exactly, where sums of weights would round
    first, second = controls.first, ~controls.first
    values, rows = np.unique(controls.values, return_inverse=True)
    ones = np.bincount(rows[first], controls.weights[first], len(values))
    others = np.bincount(rows[second], controls.weights[second], len(values))
    below = np.cumsum(others) - others
    return float((ones * (below + others / 2)).sum() / (ones.sum() * others.sum()))


def separation(controls: Scored) -> int:
    """Return 1 where every first-class score is above every other, -1 where below, otherwise 0."""
    first, second = controls.values[controls.first], controls.values[~controls.first]
    return int(first.min() > second.max()) - int(first.max() < second.min())


def tpr_at_fpr(controls: Scored, fpr: float = 0.01) -> float:
    """Return the share of first-class scores above the threshold that `fpr` of the second pass.

    The threshold is the smallest second-class score that at most a share `fpr` of the second class
    exceeds, and a score must exceed it. With fewer than 1/fpr families of one member that is the
    largest of them: no false positive was seen, which does not say that the rate is `fpr`.
    """
    threshold = _threshold(controls, fpr)
    first = controls.first
    passed = controls.weights[first & (controls.values > threshold)].sum()
    return float(passed / controls.weights[first].sum())


def _threshold(controls: Scored, fpr: float) -> float:
    order = np.argsort(-controls.values[~controls.first], kind="stable")
    values = controls.values[~controls.first][order]
    weights = controls.weights[~controls.first][order]
    # Share of the second class that is strictly above each of its scores, highest first.
    above = np.array([weights[values > value].sum() for value in values]) / weights.sum()
    return float(values[above <= fpr + 1e-12].min())


def multiclass_cost(log_likelihoods: Array, labels: Array, weights: Array) -> float:
    """Return the cost of likelihoods over k classes, 1 where they say nothing, 0 where perfect.

    The mean over classes of ``-log2`` of the posterior at equal priors, over ``log2 k`` (Brümmer &
    van Leeuwen 2006, normalised); for k = 2 it is Cllr.

    Args:
        log_likelihoods: (n, k), natural, up to one constant a row.
        labels: (n,) int, the true class of each row.
        weights: (n,), each class summing to the same (`family_weights`).

    Raises:
        UndefinedError: fewer than two classes, or a class without rows.
    """
    classes = log_likelihoods.shape[1]
    if classes < 2 or len(np.unique(labels)) < classes:
        raise UndefinedError("a multiclass cost needs controls of every class, and two classes")
    shifted = log_likelihoods - log_likelihoods.max(axis=1, keepdims=True)
    own = shifted[np.arange(len(labels)), labels]
    nats = np.log(np.exp(shifted).sum(axis=1)) - own
    return float((weights * nats).sum() / weights.sum() / math.log(classes))
