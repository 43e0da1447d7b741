"""fidelity.json: the student's scores on the held-out part beside those of null students.

A null student has learned nothing: ``untouched`` is the student before training, ``shuffled`` the
trained one with what it says assigned to other targets, ``empty`` one that says nothing. A score
that they reach as well shows no learning.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import canonical_json
from auditor.case import atomic_write
from auditor.distill.fidelity import Holdout
from auditor.distill.scores import (
    LOWER_IS_BETTER,
    Scores,
    beaten,
    empty_student,
    scores_from,
    scores_json,
    scores_of,
)
from auditor.errors import CaseError
from auditor.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SCHEMA = "auditor/fidelity/1"
NULLS = ("untouched", "shuffled", "empty")


def write_scores(path: Path, scores: Scores) -> None:
    """Keep the scores of a student for later.

    Raises:
        StorageError: the disk is full.
    """
    values = {"targets": scores.targets.tolist(), "sums": scores_json(scores)}
    atomic_write(path, canonical_json(values) + b"\n")


def read_scores(path: Path) -> Scores | None:
    """Return what `write_scores` kept; None where nothing was."""
    if not path.is_file():
        return None
    values = json.loads(path.read_bytes())
    return scores_from(values["sums"], np.array(values["targets"], np.int64))


def student_scores(
    holdout: Holdout, module: "PreTrainedModel", *, shuffled: bool = False
) -> Scores:
    """Return the scores of a model on the held-out part; see `Holdout.positions_of`."""
    return scores_of(holdout.positions_of(module, shuffled=shuffled), holdout.targets)


def scoreboard(
    holdout: Holdout,
    module: "PreTrainedModel",
    untouched: Scores | None,
    categories: Sequence[str],
) -> dict[str, Any]:
    """Return the content of fidelity.json.

    Args:
        holdout: what is measured on.
        module: the trained student.
        untouched: its scores before training; None where they were not kept.
        categories: (S,) of each held-out sequence.
    """
    student = student_scores(holdout, module)
    shuffled = student_scores(holdout, module, shuffled=True)
    return board_of(student, untouched, shuffled, holdout.vocabulary, categories)


def board_of(
    student: Scores,
    untouched: Scores | None,
    shuffled: Scores,
    vocabulary: int,
    categories: Sequence[str],
) -> dict[str, Any]:
    """Return the content of fidelity.json from scores that were taken."""
    empty = empty_student(student, vocabulary)
    nulls = {"untouched": untouched, "shuffled": shuffled, "empty": empty}
    students = {"student": student, **nulls}
    return {
        "schema": SCHEMA,
        "vocabulary": vocabulary,
        **_summaries(students),
        "better_than": {
            name: None if null is None else beaten(student, null) for name, null in nulls.items()
        },
        "categories": [
            {"category": name, **_summaries(students, members)}
            for name, members in members_of(categories).items()
        ],
        "by_sequence": {
            "category": list(categories),
            "targets": student.targets.tolist(),
            "student": scores_json(student),
        },
    }


def _summaries(
    students: Mapping[str, Scores | None], members: Array | None = None
) -> dict[str, Any]:
    student = students["student"]
    if student is None:
        raise RuntimeError("the student was not measured")
    counted = student.targets if members is None else student.targets[members]
    return {
        "sequences": len(counted),
        "targets": int(counted.sum()),
        "teacher": student.teacher(members),
        "students": {
            name: None if scores is None else scores.summary(members)
            for name, scores in students.items()
        },
    }


def members_of(categories: Sequence[str]) -> dict[str, Array]:
    """Return the numbers of the sequences of each category, by name; empty for a single one."""
    names = sorted(set(categories))
    of = np.array(categories)
    return {name: np.flatnonzero(of == name) for name in names} if len(names) > 1 else {}


def null_scores(board: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of the null students as metrics.jsonl keeps them."""
    found: dict[str, Any] = {}
    for name in NULLS:
        scores = board["students"][name]
        found[name] = scores and {key: scores[key] for key in LOWER_IS_BETTER}
    return found


def read_scoreboard(path: Path) -> dict[str, Any]:
    """Return a fidelity.json.

    Raises:
        CaseError: it is missing or malformed.
    """
    try:
        board: dict[str, Any] = json.loads(path.read_bytes())
        if board["schema"] != SCHEMA:
            raise ValueError(f"its schema is {board['schema']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError(
            f"{path} cannot be read: {error}",
            hint="it is written where something is held out: set data.holdout and distill again",
        ) from error
    return board


def own_scores(board: Mapping[str, Any]) -> Scores:
    """Return the student's scores by sequence from the content of fidelity.json."""
    kept = board["by_sequence"]
    return scores_from(kept["student"], np.array(kept["targets"], np.int64))
