"""How far the likelihood ratios of a case can be trusted, from what its calibration keeps.

Nothing is fitted here: the calibration holds the score table and, for each family, the fit that did
not see it. Every control is weighed by the fit without its family, and bounded as a case is.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from auditor.canon import finite
from auditor.errors import UndefinedError
from auditor.judge.assess import cllr, cllr_min
from auditor.judge.bootstrap import class_families
from auditor.judge.dependence import Dependence, dependence
from auditor.judge.fuse import Fusion, raw_scores, standardised
from auditor.judge.fusion_fit import Validation
from auditor.judge.rates import misleading
from auditor.judge.scores import Pair, ScoreRow
from auditor.judge.validity import curves_json, misleading_json


def held_out(fusion: Fusion, controls: Sequence[ScoreRow]) -> Validation:
    """Return the log likelihoods of the controls that a fusion was fitted to, family left out.

    Raises:
        UndefinedError: the fusion keeps no fits without a family, or lacks that of a control.
    """
    names = fusion.recipe.names
    kept = [r for r in controls if r.has(names) and r.proposition in fusion.classes]
    kept.sort(key=lambda row: row.subject)
    if not kept or any(row.family not in fusion.folds for row in kept):
        raise UndefinedError(
            "the calibration keeps no fits without each family",
            hint="use the calibration of this release's pack",
        )
    raw = np.stack([raw_scores(fusion.recipe, row.scores) for row in kept])
    x = standardised(fusion, raw)  # (n, d)
    found = [
        fusion.folds[row.family].log_likelihoods(own[None])[0]
        for row, own in zip(kept, x, strict=True)
    ]
    return Validation(
        classes=fusion.classes,
        log_likelihoods=np.array(found),
        labels=np.array([fusion.classes.index(row.proposition) for row in kept]),
        families=tuple(row.family for row in kept),
    )


def validation_json(fusion: Fusion, controls: Sequence[ScoreRow]) -> dict[str, Any]:
    """Return the leave-one-family-out validation of a fusion and the dependence of its scores.

    For each pair: families, bounds, Cllr (of the bounded ratios that a case is told), Cllr_min,
    rates of misleading evidence with exact limits, and the points of the Tippett, ECE and PAV
    plots. For each class: the correlation of the scores between its families, and where these lie
    on each score.

    Raises:
        UndefinedError: as `held_out`.
    """
    validation = held_out(fusion, controls)
    return {
        "controls": len(validation.families),
        "pairs": {pair: _pair_json(fusion, validation, pair) for pair in fusion.bounds},
        "dependence": [_dependence_json(one) for one in dependence(controls, fusion.recipe)],
        "scores": _scores_json(fusion, controls),
    }


def _scores_json(fusion: Fusion, controls: Sequence[ScoreRow]) -> list[dict[str, Any]]:
    """Return where the families of each class lie on each score: one mean a family."""
    names = fusion.recipe.names
    found = []
    for name in names:
        for proposition in fusion.classes:
            members: dict[str, list[float]] = {}
            for row in controls:
                value = row.scores.get(name)
                if row.proposition == proposition and row.has(names) and value is not None:
                    members.setdefault(row.family, []).append(value)
            means = [math.fsum(own) / len(own) for _, own in sorted(members.items())]
            found.append(
                {
                    "score": name,
                    "class": proposition,
                    "families": len(means),
                    "lowest": finite(min(means)),
                    "median": finite(float(np.median(means))),
                    "highest": finite(max(means)),
                }
            )
    return found


def _pair_json(fusion: Fusion, validation: Validation, pair: Pair) -> dict[str, Any]:
    bounds = fusion.bounds[pair]
    stated, families = validation.question(pair, bounds)
    return {
        "families": list(class_families(stated, families)),
        "bounds": [bounds.lower, bounds.upper],
        "cllr": finite(cllr(stated)),
        "cllr_min": finite(cllr_min(stated)),
        "misleading": [misleading_json(rates) for rates in misleading(stated, families)],
        "curves": curves_json(stated),
    }


def _dependence_json(found: Dependence) -> dict[str, Any]:
    matrix = found.correlation
    effective = found.effective_lines
    return {
        "class": found.proposition,
        "scores": list(found.names),
        "families": found.families,
        "correlation": None if matrix is None else [[finite(x) for x in row] for row in matrix],
        "effective_lines": None if effective is None else finite(effective),
        "undefined": found.undefined,
    }
