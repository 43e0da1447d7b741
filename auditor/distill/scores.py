"""Scores of a student on the held-out part: sums of each sequence, and means over any of them.

Sums are kept by sequence because targets of one sequence share its text: a sequence is what an
interval resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.types import Array

LOWER_IS_BETTER = {"loss": True, "kl": True, "top1": False}
"""Score -> whether a lower one is better."""
_OF_STUDENT = ("loss", "kl", "top1", "same_error")
_OF_TEACHER = ("teacher_loss", "teacher_entropy", "teacher_wrong")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """One student beside its teacher on S held-out sequences."""

    targets: Array
    """(S,) int64."""
    sums: Mapping[str, Array]
    """(S,) float64 each: the values of `Holdout.positions_of`, added up. Without a teacher's
    distribution ``loss`` alone; ``kl`` may be infinite."""

    def mean(self, name: str, members: Array | None = None) -> float | None:
        """Return a value a target, over some sequences or all; None where it is not finite."""
        if name not in self.sums:
            return None
        chosen = slice(None) if members is None else members
        found = float(self.sums[name][chosen].sum() / self.targets[chosen].sum())
        return found if np.isfinite(found) else None

    def inherited(self, members: Array | None = None) -> float | None:
        """Return the share of the teacher's errors that the student makes too, the same token.

        None without a teacher's distribution, and where the teacher makes no error.
        """
        wrong, same = self.mean("teacher_wrong", members), self.mean("same_error", members)
        return same / wrong if wrong and same is not None else None

    def summary(self, members: Array | None = None) -> dict[str, float | None]:
        """Return ``loss``, ``kl`` (nats a token), ``top1`` and ``inherited`` (shares)."""
        return {
            **{name: self.mean(name, members) for name in LOWER_IS_BETTER},
            "inherited": self.inherited(members),
        }

    def teacher(self, members: Array | None = None) -> dict[str, Any] | None:
        """Return the teacher's loss and entropy (nats a token) and its number of errors."""
        if "teacher_loss" not in self.sums:
            return None
        chosen = slice(None) if members is None else members
        return {
            "loss": self.mean("teacher_loss", members),
            "entropy": self.mean("teacher_entropy", members),
            "wrong": int(self.sums["teacher_wrong"][chosen].sum()),
        }


def scores_of(positions: Mapping[str, Array], targets: Array) -> Scores:
    """Return the scores of values of N targets, where sequence s has ``targets[s]`` of them."""
    starts = np.cumsum(targets) - targets
    return Scores(
        targets=targets,
        sums={name: np.add.reduceat(values, starts) for name, values in positions.items()},
    )


def empty_student(student: Scores, vocabulary: int) -> Scores:
    """Return the scores of a student that says nothing: every one of V tokens is equally likely.

    Its loss is ln V and its KL ln V less the teacher's entropy. It prefers no token, and a tie
    counts for nobody: its agreement and its errors are 0.
    """
    sums = {"loss": student.targets * np.log(vocabulary)}
    if "kl" in student.sums:
        # Not below 0, which rounding could make of a teacher that is uniform as well.
        sums["kl"] = np.maximum(sums["loss"] - student.sums["teacher_entropy"], 0.0)
        nothing = np.zeros(len(student.targets))
        sums.update({"top1": nothing, "same_error": nothing})
        sums.update({name: student.sums[name] for name in _OF_TEACHER})
    return Scores(targets=student.targets, sums=sums)


def beaten(
    student: Scores, other: Scores, members: Array | None = None
) -> dict[str, dict[str, Any] | None]:
    """Return by score whether the student is better than another, and on how many sequences.

    Better is strictly better: equal values count for the other one. None where a score is missing.
    """
    return {
        name: _beaten(student, other, name, -1.0 if lower else 1.0, members)
        for name, lower in LOWER_IS_BETTER.items()
    }


def _beaten(
    student: Scores, other: Scores, name: str, sign: float, members: Array | None
) -> dict[str, Any] | None:
    if name not in student.sums or name not in other.sums:
        return None
    chosen = slice(None) if members is None else members
    ours, theirs = (sign * scores.sums[name][chosen] for scores in (student, other))
    return {
        "better": bool(ours.sum() > theirs.sum()),
        "sequences": int((ours > theirs).sum()),
        "of": len(ours),
    }


def scores_json(scores: Scores) -> dict[str, list[float | None]]:
    """Return the student's sums as JSON values; null for an infinity."""
    return {
        name: [float(value) if np.isfinite(value) else None for value in scores.sums[name]]
        for name in (*_OF_STUDENT, *_OF_TEACHER)
        if name in scores.sums
    }


def scores_from(values: Mapping[str, list[float | None]], targets: Array) -> Scores:
    """Return what `scores_json` wrote."""
    return Scores(
        targets=targets,
        sums={
            name: np.array([np.inf if value is None else value for value in sums])
            for name, sums in values.items()
        },
    )
