"""The share of the teacher gap that a student recovered, beside a student taught by nobody."""

from typing import Any

import numpy as np

from auditor.distill.fidelity import SMALLEST_GAP
from auditor.distill.scores import Scores
from auditor.types import Array

RESAMPLES = 2000
FEWEST = 8
"""Sequences; an interval from fewer would be too narrow."""


def share_recovered(
    student: Scores, baseline: Scores, members: Array | None = None
) -> dict[str, Any]:
    """Return (L_baseline - L_student) / (L_baseline - L_teacher) of held-out losses.

    1 is a student that predicts the text as well as the teacher, 0 one that the teacher's help made
    no better; it may be above or below both. ``value`` is None, with a ``reason``, for a teacher
    that is not better than the baseline by 0.01 nats a token. ``interval`` holds 95 % of resampled
    values, sequences drawn with replacement, the same for all three; None, with a reason, where
    there are too few or where the gap itself is within its noise.

    Args:
        student: with the teacher's loss.
        baseline: of the same sequences.
        members: numbers of the sequences to use; all if None.
    """
    chosen = np.arange(len(student.targets)) if members is None else members
    targets = student.targets[chosen]
    if "teacher_loss" not in student.sums:
        return _undefined("the teacher's probabilities were not read")
    gap = (baseline.sums["loss"] - student.sums["teacher_loss"])[chosen]
    gain = (baseline.sums["loss"] - student.sums["loss"])[chosen]
    if gap.sum() < SMALLEST_GAP * targets.sum():
        return _undefined("the teacher is not better than the baseline: there is no gap to recover")
    found = {"value": float(gain.sum() / gap.sum()), "interval": None, "reason": None}
    if len(chosen) < FEWEST:
        return {**found, "reason": f"no interval: fewer than {FEWEST} held-out sequences"}
    # RandomState: its stream is frozen across numpy versions.
    weights = np.random.RandomState(0).multinomial(
        len(chosen), np.full(len(chosen), 1.0 / len(chosen)), RESAMPLES
    )  # (R, S)
    gaps = weights @ gap
    if (np.quantile(gaps / (weights @ targets), 0.025)) < SMALLEST_GAP:
        return {**found, "reason": "no interval: the gap to recover is within its own noise"}
    low, high = np.quantile(weights @ gain / gaps, (0.025, 0.975))
    return {**found, "interval": [float(low), float(high)]}


def _undefined(reason: str) -> dict[str, Any]:
    return {"value": None, "interval": None, "reason": reason}
