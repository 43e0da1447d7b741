"""A fitted fusion as JSON, ``auditor/fusion/1``: what a stranger needs to recompute the ratios.

``ln P(class | scores)`` up to a constant is ``intercept + sum of slope (transform(score) - mean) /
scale``; the log10 LR of a pair is the difference of two classes over ln 10, clipped to its bounds.
The interval is that of the 2.5 % and 97.5 % percentiles over the replicates, clipped likewise.
``folds`` are the fits without each family: with the score table they give the leave-one-family-out
validation without fitting anything again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from auditor.canon import finite
from auditor.errors import InputError
from auditor.judge.bootstrap import Draws
from auditor.judge.bounds import STEP, Bounds
from auditor.judge.fuse import Feature, Fusion, FusionRecipe
from auditor.judge.fusion_fit import fit_fusion
from auditor.judge.regression import Coefficients
from auditor.judge.scores import PAIRS, PROPOSITIONS, ScoreRow, table_digest
from auditor.types import Array

SCHEMA = "auditor/fusion/1"
TOLERANCE = 1e-6
"""Largest difference, in natural log units a standard deviation, that a refit may show."""


def fusion_json(fusion: Fusion) -> dict[str, Any]:
    """Return a fusion as JSON values.

    Raises:
        ValueError: a number is not finite.
    """
    features = zip(
        fusion.recipe.features,
        fusion.means,
        fusion.scales,
        fusion.ranges,
        strict=True,
    )
    return {
        "schema": SCHEMA,
        "features": [
            {
                "name": feature.name,
                "transform": feature.transform,
                "demands": dict(feature.demands),
                "mean": finite(mean),
                "scale": finite(scale),
                "range": _numbers(span),
            }
            for feature, mean, scale, span in features
        ],
        "strength": fusion.recipe.strength,
        "draws": {"seed": fusion.recipe.draws.seed, "resamples": fusion.recipe.draws.resamples},
        "classes": list(fusion.classes),
        "families": dict(fusion.families),
        "coefficients": _coefficients_json(fusion.coefficients),
        "replicates": [_coefficients_json(replicate) for replicate in fusion.replicates],
        "bounds": {
            pair: {"lower": b.lower, "upper": b.upper, "families": list(b.families)}
            for pair, b in fusion.bounds.items()
        },
        "refused": dict(fusion.refused),
        "table": fusion.digest,
        **_folds_json(fusion),
    }


def _folds_json(fusion: Fusion) -> dict[str, Any]:
    if not fusion.folds:
        return {}
    folds = {family: _coefficients_json(fit) for family, fit in sorted(fusion.folds.items())}
    return {"folds": folds}


def fusion_from_json(content: Any) -> Fusion:
    """Return the fusion that `fusion_json` wrote.

    Raises:
        InputError: it is of another schema, or something is missing or of the wrong kind.
    """
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise InputError(f"no fusion of schema {SCHEMA}: {found}")
    try:
        fusion = _fusion(content)
        _check(fusion)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the fusion cannot be read: {error!r}") from error
    return fusion


def check_refit(fusion: Fusion, rows: Sequence[ScoreRow]) -> None:
    """Fit the recipe again to its table and compare.

    Raises:
        InputError: the table is another one, or a coefficient or bound differs.
        UndefinedError: the table cannot be fitted.
    """
    usable = [row for row in rows if row.has(fusion.recipe.names)]
    if table_digest(usable) != fusion.digest:
        raise InputError(
            "the score table is not the one that the fusion was fitted to",
            hint=f"its digest should be {fusion.digest}",
        )
    again = fit_fusion(usable, fusion.recipe).fusion
    pairs = [(fusion.coefficients, again.coefficients)]
    pairs += zip(fusion.replicates, again.replicates, strict=True)
    pairs += [(fit, again.folds[family]) for family, fit in fusion.folds.items()]
    off = max(_difference(one, other) for one, other in pairs)
    if off > TOLERANCE:
        raise InputError(f"refitting gives other coefficients (by {off:.2g})")
    for pair, bounds in again.bounds.items():
        stated = fusion.bounds.get(pair)
        # A rounding of the last bit may move a bound by one step of its grid.
        if stated is None or not _close(stated, bounds):
            raise InputError(f"refitting gives other bounds for {pair}: {bounds}, not {stated}")


def _close(one: Bounds, other: Bounds) -> bool:
    off = max(abs(one.lower - other.lower), abs(one.upper - other.upper))
    return one.families == other.families and off < 1.5 * STEP


def _difference(one: Coefficients, other: Coefficients) -> float:
    return max(
        float(np.abs(one.intercepts - other.intercepts).max()),
        float(np.abs(one.slopes - other.slopes).max()),
    )


def _numbers(values: Array) -> list[Any]:
    return [finite(value) for value in values]


def _coefficients_json(coefficients: Coefficients) -> dict[str, Any]:
    return {
        "intercepts": _numbers(coefficients.intercepts),
        "slopes": [_numbers(row) for row in coefficients.slopes],
    }


def _coefficients(content: dict[str, Any]) -> Coefficients:
    return Coefficients(
        intercepts=np.array(content["intercepts"], dtype=np.float64),
        slopes=np.array(content["slopes"], dtype=np.float64),
    )


def _fusion(content: dict[str, Any]) -> Fusion:
    features = content["features"]
    recipe = FusionRecipe(
        features=tuple(
            Feature(name=f["name"], transform=f["transform"], demands=dict(f["demands"]))
            for f in features
        ),
        strength=float(content["strength"]),
        draws=Draws(
            seed=int(content["draws"]["seed"]), resamples=int(content["draws"]["resamples"])
        ),
    )
    return Fusion(
        recipe=recipe,
        classes=tuple(content["classes"]),
        families={p: int(content["families"][p]) for p in PROPOSITIONS},
        means=np.array([f["mean"] for f in features], dtype=np.float64),
        scales=np.array([f["scale"] for f in features], dtype=np.float64),
        ranges=np.array([f["range"] for f in features], dtype=np.float64),
        coefficients=_coefficients(content["coefficients"]),
        replicates=tuple(_coefficients(row) for row in content["replicates"]),
        bounds={
            pair: Bounds(
                lower=float(content["bounds"][pair]["lower"]),
                upper=float(content["bounds"][pair]["upper"]),
                families=(
                    int(content["bounds"][pair]["families"][0]),
                    int(content["bounds"][pair]["families"][1]),
                ),
            )
            for pair in PAIRS
            if pair in content["bounds"]
        },
        refused={
            pair: str(content["refused"][pair]) for pair in PAIRS if pair in content["refused"]
        },
        digest=str(content["table"]),
        folds={str(f): _coefficients(fit) for f, fit in content.get("folds", {}).items()},
    )


def _check(fusion: Fusion) -> None:
    """Refuse shapes that do not fit together, unknown words, and numbers that are not finite."""
    k, d = len(fusion.classes), len(fusion.recipe.features)
    arrays = [(fusion.means, (d,)), (fusion.scales, (d,)), (fusion.ranges, (d, 2))]
    for coefficients in (fusion.coefficients, *fusion.replicates, *fusion.folds.values()):
        arrays += [(coefficients.intercepts, (k,)), (coefficients.slopes, (k, d))]
    for array, shape in arrays:
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"shape {array.shape} where {shape} is needed, or a number not finite")
    if len(fusion.replicates) != fusion.recipe.draws.resamples or not (fusion.scales > 0).all():
        raise ValueError(f"{len(fusion.replicates)} replicates, scales {fusion.scales}")
    _check_words(fusion)


def _check_words(fusion: Fusion) -> None:
    if not set(fusion.classes) <= set(PROPOSITIONS):
        raise ValueError(f"unknown class in {fusion.classes}")
    for feature in fusion.recipe.features:
        if feature.transform not in ("identity", "asinh", "log1p"):
            raise ValueError(f"unknown transform {feature.transform!r}")
    for pair, bounds in fusion.bounds.items():
        if not set(pair.split(":")) <= set(fusion.classes) or not bounds.lower <= 0 <= bounds.upper:
            raise ValueError(f"bounds of {pair}: {bounds}")
