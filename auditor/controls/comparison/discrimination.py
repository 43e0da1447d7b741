"""How well the scores of one reading tell two groups of models apart, and what they are worth.

The same functions and the same unit, families, as for our own readings (`auditor.judge.assess`).
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.errors import UndefinedError
from auditor.judge.assess import auc, cllr, tpr_at_fpr
from auditor.judge.bootstrap import Draws, Interval, family_interval
from auditor.judge.calibrate import Scored, fit_logistic, scored
from auditor.judge.rates import auc_interval, tpr_interval
from auditor.types import Array

Row = Mapping[str, Any]

UNLINKED = ("independent", "sibling", "base")
QUESTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "replication": (("replication",), (*UNLINKED, "imitation")),
    "imitation": (("imitation",), UNLINKED),
    "link": (("replication", "imitation"), UNLINKED),
}
"""Roles of the first and of the second proposition: a copy or not, a student or unlinked, either
or unlinked."""

FOLDS = 10
CROSS_VALIDATED = f"{FOLDS} folds of families"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval over families, or the reason why there is none."""

    value: float | None = None
    interval: Interval | None = None
    undefined: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        interval = None if self.interval is None else list(self.interval)
        return {"value": self.value, "interval": interval, "undefined": self.undefined}


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrimination:
    """One reading on one question."""

    models: tuple[int, int]
    """With a score, of the first and of the second proposition."""
    families: tuple[int, int]
    without_score: int
    auc: Estimate
    tpr_at_fpr_1: Estimate
    cllr_stated: Estimate
    """Of the likelihood ratios, or the probability, that the tool itself states."""
    cllr_calibrated: Estimate
    """After a logistic calibration that did not see the family."""
    calibrated_on: str

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        estimates = ("auc", "tpr_at_fpr_1", "cllr_stated", "cllr_calibrated")
        return {
            "models": list(self.models),
            "families": list(self.families),
            "without_score": self.without_score,
            "calibrated_on": self.calibrated_on,
            **{name: getattr(self, name).as_json() for name in estimates},
        }


def discrimination(
    rows: Sequence[Row], question: str, split: str | None, draws: Draws
) -> Discrimination:
    """Return how one reading answers one question on the rows of `split` (None: on all).

    Only headline rows count. Scores become likelihood ratios by a logistic calibration fitted on
    the rows of the other splits where these hold both propositions, otherwise across folds.

    Args:
        rows: of one reading.
        question: a key of `QUESTIONS`.
        split: whose rows are evaluated.
        draws: of the intervals.
    """
    roles = {role for side in QUESTIONS[question] for role in side}
    asked = [row for row in rows if row["headline"] and row["role"] in roles]
    evaluated = [row for row in asked if split in (None, row["split"])]
    defined = [row for row in evaluated if score_of(row, question) is not None]
    own = {row["family"] for row in evaluated}
    others = [
        row for row in asked if score_of(row, question) is not None and row["family"] not in own
    ]
    sample = _Sample(defined, question)
    training = _Sample(others, question)
    folds = not (any(training.first) and not all(training.first))
    stated = _Sample([row for row in defined if question in row["stated"]], question)
    return Discrimination(
        models=sample.count("model"),
        families=sample.count("family"),
        without_score=len(evaluated) - len(defined),
        auc=_estimate(sample, sample.scores, _AUC, draws),
        tpr_at_fpr_1=_estimate(sample, sample.scores, _TPR, draws),
        cllr_stated=_estimate(stated, stated.stated, _CLLR, draws)
        if stated.rows
        else Estimate(undefined="the tool states no likelihood ratio on this question"),
        cllr_calibrated=_estimate(
            sample,
            lambda: _across_folds(sample) if folds else _from(training, sample),
            _CLLR,
            draws,
        ),
        calibrated_on=CROSS_VALIDATED if folds else "the rows of the other split",
    )


def score_of(row: Row, question: str) -> float | None:
    """Return what a reading says of a model on a question; higher speaks for the first side."""
    score: float | None = row["scores"].get(question, row["score"])
    return score


class _Sample:
    """Rows of two propositions."""

    def __init__(self, rows: Sequence[Row], question: str) -> None:
        self.rows = rows
        self.question = question
        self.first = [row["role"] in QUESTIONS[question][0] for row in rows]
        self.families = [row["family"] for row in rows]

    def scores(self) -> Array:
        """Return (n,)."""
        return np.array([score_of(row, self.question) for row in self.rows], dtype=np.float64)

    def stated(self) -> Array:
        """Return (n,) base-10 logarithms of the tool's own likelihood ratios."""
        return np.array([row["stated"][self.question] for row in self.rows], dtype=np.float64)

    def scored(self, values: Array) -> Scored:
        """Return values of these rows with the weights of their families."""
        return scored(values, self.first, self.families)

    def count(self, field: str) -> tuple[int, int]:
        """Return how many different values a field has in the first and the second proposition."""
        one, other = (
            len(
                {row[field] for row, first in zip(self.rows, self.first, strict=True) if first == s}
            )
            for s in (True, False)
        )
        return one, other

    def where(self, chosen: Sequence[bool]) -> "_Sample":
        """Return some of the rows."""
        kept = [row for row, keep in zip(self.rows, chosen, strict=True) if keep]
        return _Sample(kept, self.question)


def _from(training: _Sample, sample: _Sample) -> Array:
    """Return (n,) log10 LRs of `sample` under the calibration of `training`."""
    return fit_logistic(training.scored(training.scores())).log10_lr(sample.scores())


def _across_folds(sample: _Sample) -> Array:
    """Return (n,) log10 LRs, each under a calibration without the row's fold of families."""
    folds = np.array([_fold(family) for family in sample.families])
    found = np.zeros(len(folds))
    for fold in np.unique(folds):
        inside = folds == fold
        held_out = sample.where(inside.tolist())
        found[inside] = _from(sample.where((~inside).tolist()), held_out)
    return found


def _fold(family: str) -> int:
    # By digest: which fold a family is in depends on nothing but its name.
    return hashlib.sha256(family.encode()).digest()[0] % FOLDS


@dataclass(frozen=True, slots=True)
class _Statistic:
    value: Callable[[Scored], float]
    interval: Callable[[Scored, Sequence[str], Draws], Interval]


_AUC = _Statistic(auc, auc_interval)
_TPR = _Statistic(tpr_at_fpr, tpr_interval)
_CLLR = _Statistic(cllr, lambda controls, fams, draws: family_interval(cllr, controls, fams, draws))


def _estimate(
    sample: _Sample, values: Callable[[], Array], statistic: _Statistic, draws: Draws
) -> Estimate:
    try:
        controls = sample.scored(values())
        value = statistic.value(controls)
        if not math.isfinite(value):
            return Estimate(undefined="infinite: a likelihood ratio of 0 or infinity was wrong")
        return Estimate(value=value, interval=statistic.interval(controls, sample.families, draws))
    except UndefinedError as error:
        return Estimate(undefined=error.message)
