"""All opponents side by side: discrimination, what their verdicts accuse, time, and failures."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from auditor.controls.comparison.discrimination import (
    QUESTIONS,
    UNLINKED,
    Discrimination,
    Row,
    discrimination,
    score_of,
)
from auditor.controls.comparison.run import ROLES
from auditor.errors import UndefinedError
from auditor.judge.assess import auc
from auditor.judge.bootstrap import Draws
from auditor.judge.calibrate import scored
from auditor.judge.rates import Rate, rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Accusations:
    """How often the verdicts of a reading assert a link in one role; None where it has none.

    Rates count families: one is accused where any of its members is, which is strict on false
    assertions and lenient on hits. Limits are exact (Clopper-Pearson), because a bootstrap of no
    accusations at all would give no interval.
    """

    models: int
    """With a verdict."""
    any_link: Rate | None
    any_link_models: int
    replication: Rate | None
    """Said to have weights that derive from the reference's."""
    replication_models: int

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "models": self.models,
            "any_link": _rate_json(self.any_link),
            "any_link_models": self.any_link_models,
            "replication": _rate_json(self.replication),
            "replication_models": self.replication_models,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingSummary:
    """One reading of one opponent on all models of a split."""

    reading: str
    versions: tuple[str, ...]
    questions: dict[str, Discrimination]
    accusations: dict[str, Accusations]
    """By role."""
    words: dict[str, dict[str, int]]
    """By kind of model: how often each verdict word was given."""
    kinds: dict[str, float | str]
    """By linked kind: AUC of its models against all unlinked ones, or why there is none."""
    median_seconds: float | None
    failures: dict[str, int]
    """Reasons why there was no score, with their numbers."""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "reading": self.reading,
            "versions": list(self.versions),
            "questions": {name: found.as_json() for name, found in self.questions.items()},
            "accusations": {role: found.as_json() for role, found in self.accusations.items()},
            "words": self.words,
            "kinds": self.kinds,
            "median_seconds": self.median_seconds,
            "failures": self.failures,
        }


def summarise(
    rows: Iterable[Row], *, split: str | None = "locked", draws: Draws | None = None
) -> list[ReadingSummary]:
    """Return a summary of each reading in `rows`, in order of its first row.

    Args:
        rows: as `auditor.controls.comparison.run.compare_opponents` returns them.
        split: whose models are counted; None counts all.
        draws: of the intervals; 1,000 resamples from seed 0 by default.
    """
    by_reading: dict[str, list[Row]] = {}
    for row in rows:
        by_reading.setdefault(row["reading"], []).append(row)
    return [_summary(found, split, draws or Draws(seed=0)) for found in by_reading.values()]


def _summary(rows: Sequence[Row], split: str | None, draws: Draws) -> ReadingSummary:
    counted = [row for row in rows if split in (None, row["split"])]
    seconds = [row["seconds"] for row in counted if row["seconds"] is not None]
    return ReadingSummary(
        reading=rows[0]["reading"],
        versions=tuple(sorted({row["version"] for row in rows})),
        questions={name: discrimination(rows, name, split, draws) for name in QUESTIONS},
        accusations={role: found for role in ROLES if (found := _accusations(counted, role))},
        words=_words(counted),
        kinds=_kinds(counted),
        median_seconds=median(seconds) if seconds else None,
        failures=dict(Counter(row["failure"] for row in counted if row["failure"])),
    )


def _accusations(rows: Sequence[Row], role: str) -> Accusations | None:
    own = [row for row in rows if row["role"] == role]
    if not own:
        return None
    return Accusations(
        models=sum(row["accuses_any"] is not None for row in own),
        any_link=_accused(own, "accuses_any"),
        any_link_models=sum(row["accuses_any"] is True for row in own),
        replication=_accused(own, "accuses_replication"),
        replication_models=sum(row["accuses_replication"] is True for row in own),
    )


def _accused(rows: Sequence[Row], field: str) -> Rate | None:
    families = {row["family"] for row in rows if row[field] is not None}
    accused = {row["family"] for row in rows if row[field]}
    return rate(len(accused), len(families)) if families else None


def _words(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in rows:
        if row["verdict"] is not None:
            found.setdefault(row["kind"], Counter())[row["verdict"]] += 1
    return {kind: dict(sorted(words.items())) for kind, words in sorted(found.items())}


def _kinds(rows: Sequence[Row]) -> dict[str, float | str]:
    linked = sorted({row["kind"] for row in rows if row["role"] not in UNLINKED})
    return {kind: _kind_auc(rows, kind) for kind in linked}


def _kind_auc(rows: Sequence[Row], kind: str) -> float | str:
    some = [row for row in rows if row["role"] in UNLINKED or row["kind"] == kind]
    question = kind.partition("/")[0]
    some = [row for row in some if score_of(row, question) is not None]
    scores = np.array([score_of(row, question) for row in some], dtype=np.float64)
    try:
        first = [row["kind"] == kind for row in some]
        return auc(scored(scores, first, [row["family"] for row in some]))
    except UndefinedError as error:
        return error.message


def _rate_json(found: Rate | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "count": found.count,
        "families": found.families,
        "value": found.value,
        "interval": list(found.interval),
    }
