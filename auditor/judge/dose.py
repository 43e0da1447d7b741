"""Score against dose: how much of a model's training was imitation, from controls of known dose.

The dose is the share of training (of tokens) that was the reference's output. Controls of graded
dose, made by one recipe and measured as a suspect is, give the mean score and its spread at each
dose; between graded doses both are interpolated on straight lines. That is the one assumption in
between, and the measured one: z of the sample likelihood ratio was 2.3, 9.3 and 20 at doses .1, .5
and 1 (statistics.md, Appendix B). No curve of fixed shape is imposed, because logistic and probit
fits to detections only ignore the scores, and have no finite answer where each dose is seen always
or never, which is common with few controls. Means are made monotone (isotonic regression).
Spreads stay those of each dose: they grow with it.

A score here is larger where the model is closer; turn the sign of a measure where lower is closer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.types import Array, frozen_array

FEWEST_FAMILIES = 3
"""At each graded dose: with two, the spread has one degree of freedom."""
GRID = 1000
"""Steps on [0, 1]: doses are given to a thousandth."""
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class DosedScore:
    """One control of known dose."""

    dose: float
    """Share of its training that imitated the reference, in [0, 1]; 0 for unlinked controls."""
    score: float
    family: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DoseCurve:
    """Mean score and spread at each graded dose."""

    doses: Array
    """(G,) ascending."""
    means: Array
    """(G,) non-decreasing."""
    spreads: Array
    """(G,) standard deviation between families, divisor n - 1."""
    families: Array
    """(G,) int."""
    left_out: tuple[float, ...] = ()
    """Doses with too few families to be used."""

    def __post_init__(self) -> None:
        for name in ("doses", "means", "spreads", "families"):
            object.__setattr__(self, name, frozen_array(getattr(self, name)))

    @property
    def limits(self) -> tuple[str, ...]:
        """What rests on interpolation or on nothing."""
        graded = ", ".join(f"{dose:.0%}" for dose in self.doses)
        texts = [
            f"Doses between the graded ones ({graded}) are interpolated on straight lines.",
            "The dose is that of a model made by the controls' recipe; another recipe of "
            "imitation (text or logits, other sizes, laundering) gives another score.",
        ]
        if self.doses[0] > 0:
            texts.append(f"No control under {self.doses[0]:.0%}: what is below is not known.")
        if self.doses[-1] < 1:
            texts.append(f"No control over {self.doses[-1]:.0%}: what is above is not known.")
        if self.left_out:
            few = ", ".join(f"{dose:.0%}" for dose in self.left_out)
            texts.append(f"Left out, with fewer than {FEWEST_FAMILIES} families: {few}.")
        return tuple(texts)

    def at(self, doses: Array) -> "Prediction":
        """Return what a new model of each dose would score; doses within the graded range."""
        left = np.clip(np.searchsorted(self.doses, doses, side="right") - 1, 0, len(self.doses) - 2)
        share = (doses - self.doses[left]) / (self.doses[left + 1] - self.doses[left])
        # Exactly at a graded dose that dose's families count alone.
        share = np.clip(share, 0.0, 1.0)
        weights = np.stack([1.0 - share, share])  # (2, m)
        ends = np.stack([left, left + 1])
        spread = (weights * self.spreads[ends]).sum(axis=0)
        of_mean = (weights**2 * self.spreads[ends] ** 2 / self.families[ends]).sum(axis=0)
        families = np.where(weights > 0, self.families[ends], np.iinfo(np.int64).max).min(axis=0)
        return Prediction(
            mean=(weights * self.means[ends]).sum(axis=0),
            spread=np.sqrt(spread**2 + of_mean),
            freedom=families - 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """Student's t of a new model's score at m doses."""

    mean: Array
    spread: Array
    """Of a new score around the estimated mean: both uncertainties."""
    freedom: Array
    """Degrees of freedom: of the smaller neighbouring dose."""


def dose_curve(controls: Sequence[DosedScore]) -> DoseCurve:
    """Return the curve of graded controls; a family counts once a dose, by its mean.

    Raises:
        UndefinedError: a dose is outside [0, 1], a score is not finite, fewer than two doses have 3
            families, or all scores of a dose are equal.
    """
    scores: dict[float, Array] = {}
    for control in family_means(controls):
        scores[control.dose] = np.append(scores.get(control.dose, []), control.score)
    used = [dose for dose, values in scores.items() if len(values) >= FEWEST_FAMILIES]
    if len(used) < 2:
        raise UndefinedError(
            f"{len(used)} graded doses have {FEWEST_FAMILIES} families or more: a curve needs two",
            hint="build imitation controls of several doses (auditor controls build)",
        )
    for dose in used:
        if scores[dose].max() == scores[dose].min():
            raise UndefinedError(f"all controls of dose {dose:g} score {scores[dose][0]:g}")
    counts = np.array([len(scores[dose]) for dose in used])
    return DoseCurve(
        doses=np.array(used),
        means=monotone(np.array([scores[dose].mean() for dose in used]), counts),
        spreads=np.array([scores[dose].std(ddof=1) for dose in used]),
        families=counts,
        left_out=tuple(dose for dose in scores if dose not in used),
    )


def family_means(controls: Sequence[DosedScore]) -> list[DosedScore]:
    """Return one control for each dose and family, of their mean score, ascending.

    Raises:
        UndefinedError: a dose is outside [0, 1], or a score is not finite.
    """
    groups: dict[tuple[float, str], list[float]] = {}
    for control in controls:
        if not 0.0 <= control.dose <= 1.0 or not math.isfinite(control.score):
            raise UndefinedError(f"dose {control.dose} with score {control.score} is no control")
        groups.setdefault((control.dose, control.family), []).append(control.score)
    return [
        DosedScore(dose=dose, family=family, score=math.fsum(own) / len(own))
        for (dose, family), own in sorted(groups.items())
    ]


def monotone(values: Array, weights: Array) -> Array:
    """Return the nearest non-decreasing values in weighted least squares (isotonic regression)."""
    from scipy.optimize import isotonic_regression

    return isotonic_regression(values, weights=weights).x


def dose_grid(curve: DoseCurve) -> Array:
    """Return the doses of the grid within the graded range, its ends and graded doses included."""
    steps = np.arange(GRID + 1) / GRID
    inside = steps[(steps > curve.doses[0]) & (steps < curve.doses[-1])]
    return np.unique(np.concatenate([inside, curve.doses]))


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseEstimate:
    """The share of a model's training that was imitation, as far as its score tells."""

    dose: float
    """In [0, 1]."""
    interval: tuple[float, float]
    """95 %, in [0, 1]; an end where nothing was graded reaches to 0 or 1."""
    limits: tuple[str, ...]


def estimate_dose(score: float, curve: DoseCurve) -> DoseEstimate:
    """Return the dose whose controls would score so, by inverse prediction.

    The interval is the hull of the doses that a two-sided 5 % test does not reject: those where the
    score lies within Student's t of a new control's (Fieller's argument; Eisenhart 1939 for one
    line). It covers the dose of a model made by the controls' recipe.

    Raises:
        UndefinedError: the score is not finite; it is beyond every graded dose, above or below; or
            the mean score does not rise with the dose.
    """
    from scipy.special import stdtrit

    if not math.isfinite(score):
        raise UndefinedError(f"score {score} has no dose")
    if not curve.means[-1] > curve.means[0]:
        raise UndefinedError("the score does not rise with the dose: it cannot tell doses apart")
    grid = dose_grid(curve)
    new = curve.at(grid)
    off = np.abs(score - new.mean)
    accepted = grid[off <= stdtrit(new.freedom, (1 + LEVEL) / 2) * new.spread]
    if not len(accepted):
        side = "above" if score > curve.means[-1] else "below"
        raise UndefinedError(
            f"the score {score:.4g} is {side} what controls of any graded dose give: the recipe of "
            "the controls does not explain it"
        )
    nearest = grid[off <= off.min() + 1e-12 * (1 + abs(score))]
    return DoseEstimate(
        dose=float((nearest[0] + nearest[-1]) / 2),
        interval=_reach(float(accepted[0]), float(accepted[-1]), curve),
        limits=curve.limits,
    )


def _reach(low: float, high: float, curve: DoseCurve) -> tuple[float, float]:
    # One step of the grid outwards, since the true limit lies between two steps; and where the end
    # of the graded range is not rejected, nothing is known beyond it.
    low = 0.0 if low <= curve.doses[0] else low - 1 / GRID
    high = 1.0 if high >= curve.doses[-1] else high + 1 / GRID
    return max(low, 0.0), min(high, 1.0)
