"""Three-way fusion: from a model's group scores to likelihood ratios between the propositions.

The lines of evidence depend on each other, so their likelihood ratios are never multiplied (six
lines of correlation 0.8, multiplied, did worse than saying nothing: evidence.md finding 1). One
multinomial logistic regression on control models learns how they go together. Classes weigh the
same, and families within a class, so no prior odds enter. Where theory fixes the sign of a
coefficient it is demanded: a chance correlation in few controls cannot turn evidence around.

A score that is missing is missing, never 0: a fusion is fitted for one access pattern, the set of
scores that the suspect has, on the controls that have all of them. What is stated is bounded by
what the number of families supports (`auditor.judge.bounds`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from auditor.errors import UndefinedError
from auditor.judge.bootstrap import LEVEL, Draws
from auditor.judge.bounds import Bounds
from auditor.judge.regression import Coefficients, Demand
from auditor.judge.scores import Pair, Proposition
from auditor.types import Array, frozen_array

Transform = Literal["identity", "asinh", "log1p"]
LOG10 = math.log(10.0)
_TAILS = (50.0 * (1.0 - LEVEL), 50.0 * (1.0 + LEVEL))


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A group score and what theory says of it."""

    name: str
    transform: Transform = "identity"
    """Increasing, compresses the tail. ``log1p`` for scores >= 0 such as -log10 p, where 30 and 300
    say nearly the same; ``asinh`` for z, linear up to about 1 and logarithmic beyond, on either
    side. Otherwise the largest controls would set the slope for all."""
    demands: Mapping[str, Demand] = field(default_factory=dict)
    """By pair: its coefficient is ``nonnegative``, or ``zero`` where the score cannot speak."""


FEATURES = (
    # Neuron matching is uniform for independent and for imitating models alike.
    Feature(
        name="replication",
        transform="log1p",
        demands={"imitation:independent": "zero", "replication:independent": "nonnegative"},
    ),
    # Logit students share the span in part; damaged replicas may have less of it than students.
    Feature(
        name="span",
        transform="asinh",
        demands={
            "imitation:independent": "nonnegative",
            "replication:independent": "nonnegative",
        },
    ),
    Feature(
        name="sample",
        transform="asinh",
        demands={
            "imitation:independent": "nonnegative",
            "replication:independent": "nonnegative",
        },
    ),
)
"""The three statistics that carry the three-way question (DESIGN, section 7)."""


AGREEMENT = Feature(
    name="idiosyncrasy",
    transform="asinh",
    demands={
        "imitation:independent": "nonnegative",
        "replication:independent": "nonnegative",
    },
)
"""Idiosyncratic agreement: beside the three where both models have one vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionRecipe:
    """What is fixed before any control is looked at."""

    features: tuple[Feature, ...] = FEATURES
    strength: float = 1.0
    """Of the data against the L2 penalty, scikit-learn's C."""
    draws: Draws = field(default_factory=lambda: Draws(seed=0, resamples=200))
    """Of the family bootstrap, whose fits are kept so that intervals can be recomputed; without
    resamples there are points and no intervals."""

    @property
    def names(self) -> tuple[str, ...]:
        """The access pattern."""
        return tuple(feature.name for feature in self.features)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fusion:
    """A fitted fusion: all that is needed to compute a likelihood ratio and its interval again."""

    recipe: FusionRecipe
    classes: tuple[Proposition, ...]
    """The k propositions with enough control families."""
    families: Mapping[Proposition, int]
    means: Array
    """(d,) of the transformed scores."""
    scales: Array
    """(d,) standard deviations of the same."""
    ranges: Array
    """(d, 2) smallest and largest score of the controls, before transformation."""
    coefficients: Coefficients
    replicates: tuple[Coefficients, ...]
    """Fits to families drawn with repetition, in the same standardised scores."""
    bounds: Mapping[Pair, Bounds]
    refused: Mapping[Pair, str]
    """Why a pair has no likelihood ratio."""
    digest: str
    """Of the score table that it was fitted to."""
    folds: Mapping[str, Coefficients] = field(default_factory=dict)
    """By family: the fit without it, in the same standardised scores; empty where not kept."""

    def __post_init__(self) -> None:
        for name in ("means", "scales", "ranges"):
            object.__setattr__(self, name, frozen_array(getattr(self, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """What the findings are worth between two propositions."""

    log10_lr: float
    """Bounded."""
    interval: tuple[float, float]
    """95 % over control families, bounded."""
    unbounded: float
    bounds: Bounds

    @property
    def capped(self) -> bool:
        """Whether the number of families, not the findings, sets the size."""
        return self.bounds.reached(self.unbounded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """The result for one model."""

    pairs: Mapping[Pair, PairResult]
    refused: Mapping[Pair, str]
    extrapolated: tuple[str, ...]
    """Scores outside the range of all controls: there the ratio rests on the model's form."""
    unused: tuple[str, ...]
    """Scores that the model has and this fusion was not validated with."""

    @property
    def log10_lr(self) -> dict[str, float]:
        """The object of the result (DESIGN, section 5)."""
        return {pair: result.log10_lr for pair, result in self.pairs.items()}


def fuse(fusion: Fusion, scores: Mapping[str, float | None]) -> Fused:
    """Return what one model's scores are worth between each pair of propositions.

    Raises:
        UndefinedError: a score of the access pattern is missing, or cannot be transformed; or the
            fusion has no replicates.
    """
    names = fusion.recipe.names
    if not fusion.replicates:
        raise UndefinedError(f"the fusion of {', '.join(names)} keeps no resamples: no interval")
    raw = raw_scores(fusion.recipe, scores)
    x = standardised(fusion, raw[None])  # (1, d)
    own = fusion.coefficients.log_likelihoods(x)[0]
    drawn = np.stack([fit.log_likelihoods(x)[0] for fit in fusion.replicates])  # (B, k)
    pairs = {}
    for pair, bounds in fusion.bounds.items():
        first, second = sides(pair, fusion.classes)
        value = float(own[first] - own[second]) / LOG10
        tails = np.percentile((drawn[:, first] - drawn[:, second]) / LOG10, _TAILS)
        pairs[pair] = PairResult(
            log10_lr=bounds.clip(value),
            interval=(bounds.clip(float(tails[0])), bounds.clip(float(tails[1]))),
            unbounded=value,
            bounds=bounds,
        )
    outside = (raw < fusion.ranges[:, 0]) | (raw > fusion.ranges[:, 1])
    defined = {name for name, value in scores.items() if value is not None}
    return Fused(
        pairs=pairs,
        refused=fusion.refused,
        extrapolated=tuple(name for name, out in zip(names, outside, strict=True) if out),
        unused=tuple(sorted(defined - set(names))),
    )


def point_ratios(
    fusion: Fusion, scores: Mapping[str, float | None], fit: Coefficients | None = None
) -> dict[str, float]:
    """Return the bounded log10 LR of each pair, without intervals; `fit` replaces the fusion's own.

    Raises:
        UndefinedError: a score of the access pattern is missing, or cannot be transformed.
    """
    x = standardised(fusion, raw_scores(fusion.recipe, scores)[None])
    own = (fit or fusion.coefficients).log_likelihoods(x)[0]
    found: dict[str, float] = {}
    for pair, bounds in fusion.bounds.items():
        first, second = sides(pair, fusion.classes)
        found[pair] = bounds.clip(float(own[first] - own[second]) / LOG10)
    return found


def standardised(fusion: Fusion, raw: Array) -> Array:
    """Return (n, d) the raw scores as the coefficients take them."""
    return (transformed(fusion.recipe, raw) - fusion.means) / fusion.scales


def select_fusion(fusions: Sequence[Fusion], scores: Mapping[str, float | None]) -> Fusion:
    """Return the fusion of the largest access pattern that the scores cover, the first of equals.

    Raises:
        UndefinedError: no fusion was fitted for what is defined.
    """
    defined = {name for name, value in scores.items() if value is not None}
    covered = [fusion for fusion in fusions if set(fusion.recipe.names) <= defined]
    if not covered:
        known = " or ".join("+".join(fusion.recipe.names) for fusion in fusions) or "none"
        raise UndefinedError(
            f"no fusion was validated for the scores {sorted(defined)}; there is one for {known}",
            hint="state the rank among the controls instead",
        )
    return max(covered, key=lambda fusion: len(fusion.recipe.names))


def raw_scores(recipe: FusionRecipe, scores: Mapping[str, float | None]) -> Array:
    """Return (d,) the scores of the access pattern.

    Raises:
        UndefinedError: one is missing, not finite, or negative where it may not be.
    """
    values = []
    for feature in recipe.features:
        value = scores.get(feature.name)
        if value is None:
            raise UndefinedError(
                f"score {feature.name!r} is missing: this fusion was fitted with it",
                hint="use the fusion of the access pattern that the scores have",
            )
        if not math.isfinite(value) or (feature.transform == "log1p" and value < 0):
            raise UndefinedError(f"score {feature.name!r} is {value}: outside its range")
        values.append(value)
    return np.array(values, dtype=np.float64)


def transformed(recipe: FusionRecipe, raw: Array) -> Array:
    """Return (n, d) the scores after each feature's transform."""
    kinds: dict[Transform, Callable[[Array], Array]] = {
        "identity": np.asarray,
        "asinh": np.arcsinh,
        "log1p": np.log1p,
    }
    columns = [kinds[f.transform](raw[:, j]) for j, f in enumerate(recipe.features)]
    return np.stack(columns, axis=1)


def sides(pair: Pair, classes: Sequence[Proposition]) -> tuple[int, int]:
    """Return the positions of a pair's propositions among the classes.

    Raises:
        UndefinedError: one is not among them.
    """
    named = {proposition: index for index, proposition in enumerate(classes)}
    first, _, second = pair.partition(":")
    if first not in named or second not in named:
        raise UndefinedError(f"{pair} was not fitted: its classes are {', '.join(classes)}")
    return named[first], named[second]
