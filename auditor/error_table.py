"""Errors that a student has in common with its teacher, on probes whose right answer is known.

Pure functions of the answers that were read: `auditor.inherited_errors` asks the models. That a
student repeats a wrong answer shows no inheritance by itself: it may be everybody's mistake, or
what the student says to everything. So its rate stands beside that of the student before training
(``untouched``) and of its own answers shuffled over the probes of a category (``shuffled``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

from auditor.judge.rates import clopper_pearson
from auditor.kernels.shared_labels import (
    agreeing_shuffles,
    mean_agreement,
    product,
    upper_share,
)

MODELS = ("teacher", "student", "untouched")
OUTCOMES = ("right", "wrong", "none")
"""``none``: no answer could be read, which is neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """The answers of the three models to one probe, canonical as `auditor.answers` has them."""

    category: str
    expected: str
    answers: Mapping[str, str | None]
    """By name of `MODELS`; None where none could be read."""

    def outcome(self, model: str) -> str:
        """Return a word of `OUTCOMES`."""
        given = self.answers[model]
        return "none" if given is None else "right" if given == self.expected else "wrong"


def error_tables(rows: Sequence[Keyed]) -> dict[str, Any]:
    """Return the table over all probes and, under ``categories``, one for each of them.

    ``crossed``: probes by outcome of the teacher, then of the student. ``learned``: of the probes
    that the teacher has right and the untouched student has not, those that the student has right.
    ``repeated``: of the probes that the teacher has wrong, those where a student gives the same
    wrong answer, with exact 95 % limits (Clopper & Pearson 1934); for ``shuffled`` the mean over
    all shuffles. ``better``: the student's share is strictly above both others. An answer that
    could not be read repeats nothing.

    ``p_shuffled``: exact permutation test, one-sided. Under the null the student's answers are
    exchangeable over the probes of a category; over all of them they are shuffled within each.
    ``p_untouched``: exact sign test (McNemar 1947, in its binomial form), one-sided: of the errors
    that only one of student and untouched student repeats, those of the student. Errors that both
    or neither repeat count for nobody. Both are None where the teacher makes no error, and those of
    the categories are not corrected for their number.
    """
    names = sorted({row.category for row in rows})
    parts = {name: [row for row in rows if row.category == name] for name in names}
    shuffles = {name: _shuffles(part) for name, part in parts.items()}
    overall = [1]
    for counts in shuffles.values():
        overall = product(overall, counts)
    return {
        **_table(rows, overall),
        "categories": [
            {"category": name, **_table(part, shuffles[name])} for name, part in parts.items()
        ],
    }


def sign_test(more: int, less: int) -> float:
    """Return P(X >= more) of X ~ Binomial(more + less, 1/2); 1 where there is no trial."""
    trials = more + less
    return sum(comb(trials, k) for k in range(more, trials + 1)) / 2**trials


def _shuffles(rows: Sequence[Keyed]) -> list[int]:
    """Return how many shuffles of the student's answers repeat k of the teacher's errors."""
    errors = [row.answers["teacher"] if row.outcome("teacher") == "wrong" else None for row in rows]
    return agreeing_shuffles(errors, [row.answers["student"] for row in rows])


def _table(rows: Sequence[Keyed], shuffles: Sequence[int]) -> dict[str, Any]:
    crossed = {of: dict.fromkeys(OUTCOMES, 0) for of in OUTCOMES}
    for row in rows:
        crossed[row.outcome("teacher")][row.outcome("student")] += 1
    open_ = [row for row in rows if row.outcome("teacher") == "right" != row.outcome("untouched")]
    return {
        "probes": len(rows),
        "right": {name: sum(row.outcome(name) == "right" for row in rows) for name in MODELS},
        "answered": {name: sum(row.outcome(name) != "none" for row in rows) for name in MODELS},
        "crossed": crossed,
        "learned": {
            "count": sum(row.outcome("student") == "right" for row in open_),
            "of": len(open_),
        },
        **_inherited(rows, shuffles),
    }


def _inherited(rows: Sequence[Keyed], shuffles: Sequence[int]) -> dict[str, Any]:
    wrong = [row for row in rows if row.outcome("teacher") == "wrong"]
    found: dict[str, Any] = {
        "errors": len(wrong),
        "repeated": None,
        "better": None,
        "p_shuffled": None,
        "p_untouched": None,
    }
    if not wrong:
        return found
    student, untouched = (
        [row.answers[name] == row.answers["teacher"] for row in wrong] for name in MODELS[1:]
    )
    by_chance = mean_agreement(shuffles) / len(wrong)
    pairs = list(zip(student, untouched, strict=True))
    share = sum(student) / len(wrong)
    return {
        **found,
        "repeated": {
            "student": _share(sum(student), len(wrong)),
            "untouched": _share(sum(untouched), len(wrong)),
            "shuffled": {"share": by_chance},
        },
        "better": sum(student) > sum(untouched) and share > by_chance,
        "p_shuffled": upper_share(shuffles, sum(student)),
        "p_untouched": sign_test(pairs.count((True, False)), pairs.count((False, True))),
    }


def _share(count: int, total: int) -> dict[str, Any]:
    low, high = clopper_pearson(count, total)
    return {"count": count, "share": count / total, "interval": [low, high]}
