"""What is added to a finished run, from scores made by hand: 16 sequences of 100 targets."""

from pathlib import Path
from typing import Any

import numpy as np

from auditor.canon import canonical_json, file_digest, pretty_json
from auditor.distill.baseline import comparison
from auditor.distill.scoreboard import board_of
from auditor.distill.scores import Scores
from auditor.error_table import MODELS, Keyed, error_tables

TARGETS = np.full(16, 100)
CATEGORIES = ["letters"] * 8 + ["sums"] * 8
# Means of the sequences of either category, around which they lie evenly.
TEACHER = {"teacher_loss": (2.0, 4.0), "teacher_entropy": (1.5, 3.0), "teacher_wrong": (0.2, 0.6)}
STUDENT = {"loss": (2.25, 4.9), "kl": (0.25, 0.9), "top1": (0.8, 0.5), "same_error": (0.15, 0.3)}
UNTOUCHED = {"loss": (5.5, 5.5), "kl": (3.5, 2.5), "top1": (0.02, 0.02), "same_error": (0.0, 0.0)}
SHUFFLED = {"loss": (6.0, 6.5), "kl": (4.5, 3.5), "top1": (0.1, 0.1), "same_error": (0.02, 0.06)}
BASELINE = {"loss": (3.0, 5.0), "kl": (1.0, 1.0), "top1": (0.6, 0.45), "same_error": (0.1, 0.2)}


def scores(*means: dict[str, tuple[float, float]]) -> Scores:
    """Scores whose means by category are those given, spread by a fiftieth of them."""
    spread = np.tile(np.linspace(-0.02, 0.02, 8), 2)
    sums = {
        name: np.repeat(pair, 8) * (1.0 + spread) * TARGETS
        for part in means
        for name, pair in part.items()
    }
    return Scores(targets=TARGETS, sums=sums)


def student_board() -> dict[str, Any]:
    """The content of fidelity.json."""
    return board_of(
        scores(STUDENT, TEACHER),
        scores(UNTOUCHED, TEACHER),
        scores(SHUFFLED, TEACHER),
        259,
        CATEGORIES,
    )


def add_student_report(run: Path) -> Path:
    """Write fidelity.json and the files that are added to a finished run."""
    of = {"run": file_digest(run / "lineage.json")}
    (run / "fidelity.json").write_bytes(canonical_json(student_board()))
    compared = comparison(scores(STUDENT, TEACHER), scores(BASELINE, TEACHER), CATEGORIES)
    names = {"schema": "auditor/baseline/1", "baseline": {"run": "sha256:0", "student": "sha256:1"}}
    (run / "baseline.json").write_bytes(canonical_json({**of, **names, **compared}))
    (run / "cost.json").write_bytes(pretty_json({**of, **cost()}))
    (run / "inherited-errors.json").write_bytes(pretty_json({**of, **inherited()}))
    (run / "measured-lineage.json").write_bytes(pretty_json({**of, **measured()}))
    return run


def inherited() -> dict[str, Any]:
    """Eight sums and two dates; letters are answers of teacher, student and untouched student."""
    answers = {"sums": "rrx rx- aax bbx ccx dxd err fr-".split(), "dates": ["rrr", "r-r"]}
    rows = [
        Keyed(
            category=category,
            expected="r",
            answers={
                name: None if letter == "-" else letter
                for name, letter in zip(MODELS, letters, strict=True)
            },
        )
        for category, some in answers.items()
        for letters in some
    ]
    return {
        "schema": "auditor/inherited-errors/1",
        "suites": [{"name": "reasoning", "version": 1, "digest": "sha256:0", "probes": 10}],
        "decoding": {"max_new_tokens": 128},
        "answers": "audit/errors-0123abcd",
        **error_tables(rows),
    }


def cost() -> dict[str, Any]:
    return {
        "schema": "auditor/cost/1",
        "training_tokens": 1_024_000,
        "teacher_tokens_scored": 538_140,
        "cache_bytes_per_token": 96.4,
        "teacher_tokens_generated": 0,
        "seconds": {"answers": 0.5, "preparation and capture": 20.0, "training": 100.0},
        "resumed": False,
    }


def measured() -> dict[str, Any]:
    return {
        "schema": "auditor/measured-lineage/1",
        "declared": {
            "teacher": {"spec": "tiny:teacher", "digest": None},
            "method": "logits",
            "via": "logits",
            "dose": 0.9,
            "weights": False,
        },
        "measured": {
            "reading": "imitation",
            "via": "logits",
            "basis": "beyond all 20 control families",
            "cap": "rank among 20 control families",
            "dose": {"dose": 0.8, "interval": [0.5, 1.0], "limits": []},
            "power": {"dose": 0.25, "interval": [0.1, 0.5], "power": 0.8, "sentence": ""},
            "log10_lr": None,
            "limits": [],
        },
        "case": "audit/0123abcd",
        "outcome": "consistent",
        "reason": "the audit reads imitation via logits",
    }
