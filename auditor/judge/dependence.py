"""How far lines of evidence say the same thing: shown beside them, so that nobody multiplies them.

Correlation is taken within a class: over all controls any two useful scores correlate, because both
tell the classes apart, and that is no dependence of the evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.judge.fuse import FusionRecipe, raw_scores, transformed
from auditor.judge.scores import PROPOSITIONS, Proposition, ScoreRow
from auditor.types import Array

FEWEST_FAMILIES = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dependence:
    """The correlation of group scores inside one class."""

    proposition: Proposition
    names: tuple[str, ...]
    correlation: Array | None
    """(d, d), symmetric, diagonal 1; None where undefined."""
    families: int
    undefined: str | None = None

    @property
    def effective_lines(self) -> float | None:
        """How many independent lines the d scores are worth: `effective_lines`."""
        return None if self.correlation is None else effective_lines(self.correlation)


def effective_lines(correlation: Array) -> float:
    """Return ``(sum lambda)^2 / sum lambda^2`` of the eigenvalues of a (d, d) correlation.

    In [1, d]: d where the lines are uncorrelated, 1 where they are one line d times. The trace is d
    and the sum of squared eigenvalues is that of the squared entries.
    """
    return float(np.trace(correlation) ** 2 / (correlation**2).sum())


def dependence(rows: Sequence[ScoreRow], recipe: FusionRecipe) -> tuple[Dependence, ...]:
    """Return the within-class correlation (Pearson, of transformed scores, one mean a family).

    Controls that lack a score of the recipe are left out.
    """
    return tuple(_of_class(rows, recipe, proposition) for proposition in PROPOSITIONS)


def _of_class(
    rows: Sequence[ScoreRow], recipe: FusionRecipe, proposition: Proposition
) -> Dependence:
    members: dict[str, list[Array]] = {}
    for row in rows:
        if row.proposition == proposition and row.has(recipe.names):
            scores = transformed(recipe, raw_scores(recipe, row.scores)[None])[0]
            members.setdefault(row.family, []).append(scores)
    means = np.array([np.mean(scores, axis=0) for _, scores in sorted(members.items())])
    reason = _why_undefined(means, recipe.names)
    return Dependence(
        proposition=proposition,
        names=recipe.names,
        correlation=None if reason else np.atleast_2d(np.corrcoef(means, rowvar=False)),
        families=len(means),
        undefined=reason,
    )


def _why_undefined(means: Array, names: Sequence[str]) -> str | None:
    if len(means) < FEWEST_FAMILIES:
        return f"{len(means)} families: a correlation needs {FEWEST_FAMILIES}"
    flat = [name for j, name in enumerate(names) if means[:, j].max() == means[:, j].min()]
    return f"{flat[0]} does not vary between families" if flat else None
