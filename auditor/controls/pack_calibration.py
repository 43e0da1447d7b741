"""Fit what a pack allows to say, on its calibration half, from the score table alone."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from auditor.errors import UndefinedError
from auditor.judge.bootstrap import Draws
from auditor.judge.calibration import Calibration
from auditor.judge.dose import DosedScore
from auditor.judge.fuse import AGREEMENT, FEATURES, Fusion, FusionRecipe
from auditor.judge.fusion_fit import Fitted, fit_fusion
from auditor.judge.population import Population
from auditor.judge.scores import ScoreRow, proposition_of

Row = dict[str, Any]

GRADED_SHAPE, GRADED_ARCHITECTURE = "llama-words", "LlamaForCausalLM"
"""Of the students whose doses are graded: the reference's."""
NEURONS, SPAN = "neuron-matching@1", "unembedding-span@1"
SAMPLE, IDIOSYNCRASY = "sample-llr@1", "idiosyncratic-agreement@1"
PATTERNS = (
    ("replication", "span", "sample", "idiosyncrasy"),
    ("span", "sample", "idiosyncrasy"),
    ("sample",),
)
"""Scores that are there at weights, logits and text access."""


def score_rows(rows: Sequence[Row]) -> list[ScoreRow]:
    """Return the group scores of a score table; the reference is no row of it."""
    return [
        ScoreRow(
            subject=row["name"],
            family=row["family"],
            proposition=proposition_of(row["role"]),
            scores=group_scores(row),
        )
        for row in rows
    ]


def group_scores(row: Row) -> dict[str, float | None]:
    """Return the scores of a model as the fusions take them; None where undefined."""
    found = row["scores"]
    neurons = found.get(NEURONS)
    return {
        "replication": None if neurons is None else -float(neurons["value"]),
        "span": None if SPAN not in found else found[SPAN]["z"],
        "sample": None if SAMPLE not in found else found[SAMPLE]["z"],
        "idiosyncrasy": None if IDIOSYNCRASY not in found else found[IDIOSYNCRASY]["z"],
    }


def fit_pattern(rows: Sequence[Row], names: tuple[str, ...], draws: Draws | None = None) -> Fitted:
    """Return the fusion of one access pattern, fitted to the calibration half of a table.

    Raises:
        UndefinedError: too few families have these scores.
    """
    half = [row for row in rows if row["split"] == "calibration"]
    features = tuple(feature for feature in (*FEATURES, AGREEMENT) if feature.name in names)
    recipe = FusionRecipe(features=features)
    recipe = recipe if draws is None else replace(recipe, draws=draws)
    return fit_fusion(score_rows(half), recipe)


def single_lines(rows: Sequence[Row]) -> tuple[Fusion, ...]:
    """Return what each score says alone, of those that enough families have."""
    found = _fitted(rows, [(name,) for name in PATTERNS[0]], None)
    return tuple(replace(fusion, folds={}) for fusion in found)


def reduced_patterns(rows: Sequence[Row]) -> tuple[Fusion, ...]:
    """Return the fusions less one score that are neither a pattern nor a single line."""
    less = {
        tuple(name for name in pattern if name != dropped): None
        for pattern in PATTERNS
        for dropped in pattern
    }
    wanted = [names for names in less if len(names) > 1 and names not in PATTERNS]
    found = _fitted(rows, wanted, Draws(seed=0, resamples=0))
    return tuple(replace(fusion, folds={}) for fusion in found)


def _fitted(
    rows: Sequence[Row], patterns: Sequence[tuple[str, ...]], draws: Draws | None
) -> Iterator[Fusion]:
    for names in patterns:
        with contextlib.suppress(UndefinedError):  # too few families: nothing to show
            yield fit_pattern(rows, names, draws).fusion


def calibrate_pack(rows: Sequence[Row], population: Population) -> Calibration:
    """Return the calibration of a pack.

    Raises:
        UndefinedError: no access pattern has enough families.
    """
    fusions = []
    for names in PATTERNS:
        try:
            fusions.append(fit_pattern(rows, names).fusion)
        except UndefinedError as error:
            if names == PATTERNS[-1]:
                raise UndefinedError(f"no access pattern can be calibrated: {error}") from error
    half = [row for row in rows if row["split"] == "calibration"]
    return Calibration(
        population=population,
        fusions=tuple(fusions),
        graded=(GRADED_ARCHITECTURE,),
        doses={name.partition("@")[0]: dosed_scores(half, name) for name in (SAMPLE, IDIOSYNCRASY)},
        controls=tuple(sorted(score_rows(half), key=lambda row: row.subject)),
        lines=single_lines(rows),
        reduced=reduced_patterns(rows),
    )


def dosed_scores(rows: Sequence[Row], test: str) -> tuple[DosedScore, ...]:
    """Return z of a decisive test by dose: of plain text students of the reference's own shape.

    Students of sibling teachers and independent models have dose 0.
    """
    return tuple(
        DosedScore(dose=dose, score=float(row["scores"][test]["z"]), family=row["family"])
        for row in rows
        if test in row["scores"] and (dose := graded_dose(row, "text")) is not None
    )


def graded_dose(row: Row, via: str) -> float | None:
    """Return the dose that a row is graded at; None where it is no plain student."""
    if row["role"] in ("independent", "sibling"):
        return 0.0
    teaching = row["teaching"]
    plain = row["role"] == "imitation" and row["start"] is None and teaching is not None
    plain = plain and row["shape"] == GRADED_SHAPE
    if not plain or teaching["via"] != via or teaching["paraphrase"]:
        return None
    return float(teaching["dose"])
