"""Fitting a fusion to a table of controls, and checking it on families that it has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from auditor.errors import UndefinedError
from auditor.judge.bootstrap import family_counts
from auditor.judge.bounds import FEWEST_FAMILIES, Bounds, family_bounds
from auditor.judge.calibrate import Scored, family_weights, scored, standardisation
from auditor.judge.fuse import LOG10, Fusion, FusionRecipe, raw_scores, sides, transformed
from auditor.judge.regression import Coefficients, Data, Problem, fit_multinomial
from auditor.judge.scores import (
    PAIRS,
    PROPOSITIONS,
    Pair,
    Proposition,
    ScoreRow,
    families_by_class,
    table_digest,
)
from auditor.types import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Validation:
    """Log likelihoods of every control from a fusion that did not see its family."""

    classes: tuple[Proposition, ...]
    log_likelihoods: Array
    """(n, k), natural, up to a constant a row."""
    labels: Array
    """(n,) int, index into the classes."""
    families: tuple[str, ...]

    def question(self, pair: Pair, bounds: Bounds | None = None) -> tuple[Scored, list[str]]:
        """Return the log10 LRs of the controls of the two classes, and their families.

        Raises:
            UndefinedError: a proposition of the pair is not among the classes.
        """
        first, second = sides(pair, self.classes)
        rows = np.flatnonzero((self.labels == first) | (self.labels == second))
        values = (self.log_likelihoods[rows, first] - self.log_likelihoods[rows, second]) / LOG10
        if bounds is not None:
            values = np.clip(values, bounds.lower, bounds.upper)
        families = [self.families[row] for row in rows]
        return scored(values, list(self.labels[rows] == first), families), families

    @property
    def weights(self) -> Array:
        """(n,) equal over classes, over families in a class, over members in a family."""
        return family_weights(self.labels, self.families)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A fusion and how it did on families that it had not seen."""

    fusion: Fusion
    validation: Validation


def fit_fusion(rows: Sequence[ScoreRow], recipe: FusionRecipe) -> Fitted:
    """Return the fusion of the recipe's scores, fitted to the controls that have all of them.

    Propositions with fewer than 10 families are left out and their pairs refused.

    Raises:
        UndefinedError: fewer than two propositions are left, a family is in two classes, a score
            does not vary, or the demands contradict each other.
    """
    usable = [row for row in rows if row.has(recipe.names)]
    families = families_by_class(usable)
    classes = tuple(p for p in PROPOSITIONS if families[p] >= FEWEST_FAMILIES)
    if len(classes) < 2:
        raise UndefinedError(
            f"insufficient controls with the scores {', '.join(recipe.names)}: {_listed(families)}",
            hint=f"two propositions need {FEWEST_FAMILIES} families each; state the rank instead",
        )
    table = _table(usable, recipe, classes)
    first = _fit(table, recipe, None)
    folds = _folds(table, recipe, first)
    validation = _cross_validated(table, folds)
    pairs = [pair for pair in PAIRS if set(pair.split(":")) <= set(classes)]
    fusion = Fusion(
        recipe=recipe,
        classes=classes,
        families=families,
        means=first.means,
        scales=first.scales,
        ranges=np.stack([table.raw.min(axis=0), table.raw.max(axis=0)], axis=1),
        coefficients=first.coefficients,
        replicates=_replicates(table, recipe, first),
        bounds={pair: _bounds(validation, pair) for pair in pairs},
        refused={
            pair: f"insufficient controls: {_listed(families)}; each class needs {FEWEST_FAMILIES}"
            for pair in PAIRS
            if pair not in pairs
        },
        digest=table_digest(usable),
        folds={family: fit.expressed_in(first) for family, fit in folds.items()},
    )
    return Fitted(fusion=fusion, validation=validation)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    classes: tuple[Proposition, ...]
    raw: Array
    """(n, d)."""
    x: Array
    """(n, d) transformed, not yet standardised."""
    labels: Array
    weights: Array
    families: tuple[str, ...]

    def take(self, rows: Array, weights: Array | None = None) -> "_Table":
        """Return the chosen rows, with new weights where families were left out."""
        labels = self.labels[rows]
        families = tuple(np.asarray(self.families)[rows].tolist())
        return replace(
            self,
            raw=self.raw[rows],
            x=self.x[rows],
            labels=labels,
            families=families,
            weights=family_weights(labels, families) if weights is None else weights[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    means: Array
    scales: Array
    coefficients: Coefficients

    def log_likelihoods(self, x: Array) -> Array:
        """Return (n, k) of (n, d) transformed scores."""
        return self.coefficients.log_likelihoods((x - self.means) / self.scales)

    def expressed_in(self, other: "_Fit") -> Coefficients:
        """Return the same function of the scores, in the other's standardisation."""
        slopes = self.coefficients.slopes / self.scales  # (k, d), of the transformed scores
        shift = (slopes * (other.means - self.means)).sum(axis=1)
        return Coefficients(
            intercepts=self.coefficients.intercepts + shift, slopes=slopes * other.scales
        )


def _table(
    rows: Sequence[ScoreRow], recipe: FusionRecipe, classes: Sequence[Proposition]
) -> _Table:
    kept = sorted((r for r in rows if r.proposition in classes), key=lambda row: row.subject)
    raw = np.stack([raw_scores(recipe, row.scores) for row in kept])
    labels = np.array([classes.index(row.proposition) for row in kept])
    families = tuple(row.family for row in kept)
    return _Table(
        classes=tuple(classes),
        raw=raw,
        x=transformed(recipe, raw),
        labels=labels,
        weights=family_weights(labels, families),
        families=families,
    )


def _fit(table: _Table, recipe: FusionRecipe, start: Coefficients | None) -> _Fit:
    columns = []
    for j, name in enumerate(recipe.names):
        try:
            columns.append(standardisation(table.x[:, j], table.weights))
        except UndefinedError as error:
            raise UndefinedError(f"{name}: {error.message}", hint=error.hint) from error
    means, scales = np.array(columns).T
    coefficients = fit_multinomial(
        Data(x=(table.x - means) / scales, labels=table.labels, weights=table.weights),
        Problem(
            classes=table.classes,
            demands=tuple(feature.demands for feature in recipe.features),
            strength=recipe.strength,
        ),
        start,
    )
    return _Fit(means=means, scales=scales, coefficients=coefficients)


def _folds(table: _Table, recipe: FusionRecipe, first: _Fit) -> dict[str, _Fit]:
    """Return the fit without each family, by family."""
    names = np.asarray(table.families)
    return {
        str(family): _fit(table.take(names != family), recipe, first.coefficients)
        for family in np.unique(names)
    }


def _cross_validated(table: _Table, folds: Mapping[str, _Fit]) -> Validation:
    """Return every control's log likelihoods with its family left out of the fit."""
    rows = [folds[f].log_likelihoods(table.x[i][None])[0] for i, f in enumerate(table.families)]
    return Validation(
        classes=table.classes,
        log_likelihoods=np.array(rows),
        labels=table.labels,
        families=table.families,
    )


def _replicates(table: _Table, recipe: FusionRecipe, first: _Fit) -> tuple[Coefficients, ...]:
    if not recipe.draws.resamples:
        return ()
    fits = []
    for counts in family_counts(table.labels, table.families, recipe.draws):
        drawn = table.take(counts > 0, table.weights * counts)
        fits.append(_fit(drawn, recipe, first.coefficients).expressed_in(first))
    return tuple(fits)


def _bounds(validation: Validation, pair: Pair) -> Bounds:
    controls, families = validation.question(pair)
    return family_bounds(controls.values.tolist(), controls.first.tolist(), families)


def _listed(families: Mapping[Proposition, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in families.items()) + " families"
