"""Multinomial logistic regression with theory's signs, the model behind the fusion.

Penalised likelihood of k classes (k = 2 or 3), ``ln P(class | x) = a + B x + const``:

    minimise  sum_i w_i (-ln P(y_i | x_i)) + |B|^2 / (2 C)

the objective of scikit-learn's LogisticRegression, whose result the tests compare with, under
linear demands on differences of rows of B: the coefficient of a pairwise log likelihood ratio is
>= 0, or 0. Any k - 1 differences are a basis, so the demands become bounds on the variables of a
smooth convex problem, which projected Newton steps solve to rounding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from auditor.errors import UndefinedError
from auditor.types import Array

Demand = Literal["nonnegative", "zero"]
Bound = tuple[float | None, float | None]
_BOUNDS: dict[Demand | None, Bound] = {
    "nonnegative": (0.0, None),
    "zero": (0.0, 0.0),
    None: (None, None),
}
_MOST_STEPS = 200
_MOST_HALVINGS = 40
_NEAR = 1e-2
"""Distance from a bound, in units of a coefficient, at which a slope drives a variable into it."""
_FLAT = 1e-11
"""Largest slope at a minimum, as a share of the number of families."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is demanded of the coefficients, beside the data."""

    classes: tuple[str, ...]
    """k names, the row order of B."""
    demands: tuple[Mapping[str, Demand], ...]
    """For each of d features, by pair ``numerator:denominator``; pairs not named are free."""
    strength: float = 1.0
    """C: of the data against the penalty."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Data:
    """What the coefficients are fitted to."""

    x: Array
    """(n, d), standardised."""
    labels: Array
    """(n,) int, index into the classes."""
    weights: Array
    """(n,) each class summing to the same, so that no prior odds enter the intercepts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coefficients:
    """A fitted model. Rows sum to zero; only differences of rows mean something."""

    intercepts: Array
    """(k,)."""
    slopes: Array
    """(k, d)."""

    def log_likelihoods(self, x: Array) -> Array:
        """Return (n, k), natural, up to a constant a row, of (n, d) standardised scores."""
        return self.intercepts + np.einsum("nd,kd->nk", x, self.slopes)


def fit_multinomial(
    data: Data, problem: Problem, start: Coefficients | None = None
) -> Coefficients:
    """Return the coefficients with the smallest penalised cost under the demands.

    Args:
        data: n controls.
        problem: classes, demands and penalty.
        start: coefficients of a similar fit, to be quicker; the result is the same.

    Raises:
        UndefinedError: the demands contradict each other, or the search did not converge.
    """
    free: Mapping[str, Demand] = {}  # the intercept's
    bases = [basis(problem.classes, demands) for demands in (free, *problem.demands)]
    # (d + 1, k, k - 1): from the variables of a column to its k coefficients, which sum to 0.
    spread = np.stack([np.linalg.pinv(b.differences) for b in bases])
    cost = _Cost(data, spread, problem.strength)
    bounds = [bound for b in bases for bound in b.bounds]
    initial = np.zeros(len(bounds)) if start is None else _variables(start, bases)
    found = _projected_newton(cost, initial, bounds)
    full = np.einsum("jkb,jb->jk", spread, found.reshape(len(bases), -1))
    return Coefficients(intercepts=full[0], slopes=full[1:].T.copy())


def _variables(start: Coefficients, bases: Sequence["Basis"]) -> Array:
    columns = np.concatenate([start.intercepts[:, None], start.slopes], axis=1)  # (k, d + 1)
    return np.concatenate([b.differences @ columns[:, j] for j, b in enumerate(bases)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Basis:
    """The pairwise differences that stand for one feature's coefficients."""

    pairs: tuple[str, ...]
    """k - 1 of them."""
    differences: Array
    """(k - 1, k): +1 at the numerator, -1 at the denominator."""
    bounds: tuple[Bound, ...]


def basis(classes: Sequence[str], demands: Mapping[str, Demand]) -> Basis:
    """Return the pairs whose bounds make every demand hold.

    Raises:
        UndefinedError: the demands contradict each other.
    """
    # Classes are ordered from the weakest link to the strongest: pairs read stronger:weaker.
    pairs = [f"{strong}:{weak}" for weak, strong in combinations(classes, 2)]
    asked = {pair: demands[pair] for pair in pairs if pair in demands}
    order = sorted(pairs, key=lambda pair: (_rank(asked, pair), pairs.index(pair)))
    chosen = tuple(order[: len(classes) - 1])
    if len(asked) == 3:
        chosen = _all_three(pairs, asked, chosen)
    rows = np.zeros((len(chosen), len(classes)))
    for row, pair in enumerate(chosen):
        strong, _, weak = pair.partition(":")
        rows[row, classes.index(strong)], rows[row, classes.index(weak)] = 1.0, -1.0
    bounds = tuple(_BOUNDS[asked.get(pair)] for pair in chosen)
    return Basis(pairs=chosen, differences=rows, bounds=bounds)


def _all_three(
    pairs: Sequence[str], asked: Mapping[str, Demand], chosen: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the basis where each pair of three classes has a demand."""
    short, long, rest = pairs  # long = short + rest
    if list(asked.values()).count("zero") == 0:
        # The two steps >= 0 imply the long one, not the other way round.
        return short, rest
    if asked[long] == "zero" and "nonnegative" in (asked[short], asked[rest]):
        raise UndefinedError(f"{long} is demanded to be 0 and its parts are not: {dict(asked)}")
    return chosen


def _rank(asked: Mapping[str, Demand], pair: str) -> int:
    return {"zero": 0, "nonnegative": 1, None: 2}[asked.get(pair)]


class _Cost:
    """The penalised cost in the variables of the bases, m = (d + 1)(k - 1) of them.

    Every product is an einsum without optimisation: no BLAS, so the threads of the machine change
    no bit of the result.
    """

    def __init__(self, data: Data, spread: Array, strength: float) -> None:
        x = np.concatenate([np.ones((len(data.x), 1)), data.x], axis=1)  # (n, d + 1)
        # (n, k, m): what each variable adds to each class of each row.
        self.design = np.einsum("nj,jkb->nkjb", x, spread).reshape(
            *x.shape[:1], spread.shape[1], -1
        )
        self.labels, self.weights = data.labels, data.weights
        columns, _, steps = spread.shape
        blocks = np.einsum("jkb,jkc->jbc", spread, spread) / strength
        blocks[0] = 0.0  # the intercept is not penalised
        self.penalty = np.zeros((columns * steps, columns * steps))
        for j in range(columns):
            self.penalty[j * steps : (j + 1) * steps, j * steps : (j + 1) * steps] = blocks[j]

    def value(self, at: Array) -> float:
        """Return the cost."""
        eta = self._shifted(at)
        own = eta[np.arange(len(eta)), self.labels]
        fit = (self.weights * (np.log(np.exp(eta).sum(axis=1)) - own)).sum()
        return float(fit + (at * (self.penalty * at).sum(axis=1)).sum() / 2)

    def slope_and_curvature(self, at: Array) -> tuple[Array, Array]:
        """Return (m,) gradient and (m, m) Hessian."""
        eta = self._shifted(at)
        chance = np.exp(eta)
        chance /= chance.sum(axis=1, keepdims=True)
        weighted = chance * self.weights[:, None]
        error = weighted.copy()
        error[np.arange(len(eta)), self.labels] -= self.weights
        mean = np.einsum("nkm,nk->nm", self.design, chance)
        curvature = np.einsum("nkm,nk,nkl->ml", self.design, weighted, self.design)
        curvature -= np.einsum("nm,n,nl->ml", mean, self.weights, mean)
        slope = np.einsum("nkm,nk->m", self.design, error) + (self.penalty * at).sum(axis=1)
        return slope, curvature + self.penalty

    def _shifted(self, at: Array) -> Array:
        eta = np.einsum("nkm,m->nk", self.design, at)
        return eta - eta.max(axis=1, keepdims=True)


def _step(at: Array, slope: Array, curvature: Array, bounds: tuple[Array, Array]) -> Array:
    """Return a step along which the cost falls, cut off at the bounds.

    Newton's in the variables that stay clear of their bounds. One that the slope drives into a
    bound nearby moves on its own: cut off there, it would leave the others a step that was
    computed for its full length, along which the cost may rise.
    """
    low, high = bounds
    near = np.minimum(_NEAR, np.linalg.norm(at - np.clip(at - slope, low, high)))
    driven = (at <= low + near) & (slope > 0) | (at >= high - near) & (slope < 0)
    step = -slope / np.diag(curvature)
    free = ~driven
    step[free] = -np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
    return step


def _projected_newton(cost: _Cost, at: Array, bounds: Sequence[Bound]) -> Array:
    """Return the minimum within the bounds (Bertsekas 1982).

    Variables that are held at a bound by the gradient rest; the others take a Newton step, which is
    halved until the cost falls.
    """
    low = np.array([-np.inf if bound[0] is None else bound[0] for bound in bounds])
    high = np.array([np.inf if bound[1] is None else bound[1] for bound in bounds])
    at = np.clip(at, low, high)
    value = cost.value(at)
    for _ in range(_MOST_STEPS):
        slope, curvature = cost.slope_and_curvature(at)
        moves = ~((at <= low) & (slope >= 0) | (at >= high) & (slope <= 0))
        if np.abs(slope[moves]).max(initial=0.0) <= _FLAT * cost.weights.sum():
            return at
        step = _step(at, slope, curvature, (low, high))
        # What the cost loses by rounding: at the minimum a step may not show in it any more.
        slack = 8 * np.finfo(np.float64).eps * abs(value)
        for halving in range(_MOST_HALVINGS):
            trial = np.clip(at + step * 0.5**halving, low, high)
            reached = cost.value(trial)
            if reached <= value + 1e-4 * (slope * (trial - at)).sum() + slack:
                break
        else:
            break  # no step lowers the cost: not convex
        at, value = trial, reached
    if np.abs(slope[moves]).max(initial=0.0) > 1e3 * _FLAT * cost.weights.sum():
        raise UndefinedError("the fusion's coefficients did not converge")
    return at
