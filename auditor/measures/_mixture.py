"""A suspect's weights as a mixture of parents, solved from the inner products of their blocks.

Within one layer and tensor group the suspect is fitted by least squares as m = s (sum of w_k p_k),
the w_k summing to 1. The common factor s is free, because spherical merges, pruning and weight
decay change the length of the weights without changing whose they are. With d_k = p_k - r against
the reference r this is m - r = (s - 1) r + sum of s w_k d_k, whose normal equations are stored.
"""

from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.panel import TENSOR_GROUPS
from auditor.types import Array

LEAST_COSINE = 0.95
"""Below it the mixture does not explain the suspect: a parent is missing, or it was trained on."""
EXACT = 0.999
"""From this cosine on the scale may be anything; below, a scale off 1 is a missing parent's."""
SCALE_OFF = 0.05
WORST_CONDITION = 1e10
"""Of the scaled normal equations: beyond it rounding decides who is whose parent."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """The mixture of every layer and tensor group that has one. G groups, K parents."""

    layers: Array
    """(G,)."""
    groups: Array
    """(G,) index into TENSOR_GROUPS."""
    elements: Array
    """(G,)."""
    shares: Array
    """(G, K): shares that sum to 1 over the parents, the reference first."""
    cosine: float
    """Of the suspect and the fit, all groups together."""
    scale: float
    """Mean of the common factors, weighted by elements."""

    @property
    def mean(self) -> Array:
        """(K,) shares, averaged over the elements."""
        return np.asarray(self.elements @ self.shares / self.elements.sum())


def solve_mixture(rows: Array, parents: tuple[str, ...]) -> Mixture:
    """Return the mixture that fits stored blocks.

    Args:
        rows: (n,) of dtype MIXTURE.
        parents: (K,) names, the reference first.

    Raises:
        UndefinedError: one parent only, parents that cannot be told apart, or a fit that does not
            explain the suspect; the message says which.
    """
    if len(parents) < 2:
        raise UndefinedError("no other candidate has the suspect's shapes")
    places, grams, elements = _group_sums(rows, len(parents))
    told = np.array([_condition(gram) <= WORST_CONDITION for gram in grams])
    if not told.any():
        raise UndefinedError(f"{_twins(grams.sum(axis=0), parents)} cannot be told apart")
    scales, shares = _solved(grams[told])
    mixture = Mixture(
        layers=places[told, 0],
        groups=places[told, 1],
        elements=elements[told],
        shares=shares,
        cosine=_cosine(grams[told]),
        scale=float(elements[told] @ scales / elements[told].sum()),
    )
    _check(mixture, len(parents))
    return mixture


def standard_error(
    rows: Array, parents: tuple[str, ...], seed: int, resamples: int
) -> tuple[float, float]:
    """Return the standard error of the reference's mean share, and its degrees of freedom.

    The blocks of each group are drawn anew with replacement, groups on their own. A regression on n
    blocks leaves residuals, and so errors, too small by about (n - 1)/n in each direction
    (Cameron & Miller 2015, section VI.B); they are stretched by n/(n - 1). Degrees of freedom after
    Satterthwaite 1946: n - 1 of each group, weighted by what it adds to the variance.

    Args:
        rows: (n,) of dtype MIXTURE.
        parents: (K,) names, the reference first.
        seed: of the draws.
        resamples: 2 or more.
    """
    random = np.random.RandomState(seed)
    width = len(parents) + 1
    variances, freedom, total = [], [], 0
    for group in _grouped(rows):
        grams = rows["gram"][group][:, :width, :width]
        n = len(group)
        if _condition(grams.sum(axis=0)) > WORST_CONDITION:
            continue
        weight = int(rows["elements"][group].sum())
        total += weight
        if n > 1:
            counts = random.multinomial(n, np.full(n, 1 / n), size=resamples)
            drawn = (counts @ grams.reshape(n, -1)).reshape(resamples, width, width)
            spread = float(np.std(_solved(drawn)[1][:, 0], ddof=1)) * n / (n - 1)
            variances.append((weight * spread) ** 2)
            freedom.append(n - 1)
    variance = float(np.sum(variances))
    if not variance:
        return 0.0, 1.0
    satterthwaite = variance**2 / float(np.sum(np.square(variances) / freedom))
    return float(np.sqrt(variance)) / total, satterthwaite


def _grouped(rows: Array) -> list[Array]:
    """Return the rows of each layer and group, in their order."""
    keys = rows["layer"].astype(np.int64) * len(TENSOR_GROUPS) + rows["group"]
    return [np.flatnonzero(keys == key) for key in np.unique(keys)]


def _group_sums(rows: Array, parents: int) -> tuple[Array, Array, Array]:
    """Return (G, 2) layer and group, (G, K + 1, K + 1) inner products, (G,) elements."""
    groups = _grouped(rows)
    width = parents + 1
    places = [[int(rows["layer"][g[0]]), int(rows["group"][g[0]])] for g in groups]
    grams = [rows["gram"][g][:, :width, :width].sum(axis=0) for g in groups]
    elements = [int(rows["elements"][g].sum()) for g in groups]
    return np.array(places), np.array(grams), np.array(elements)


def _condition(gram: Array) -> float:
    """Return the condition number of the normal equations, each vector scaled to length 1."""
    table = gram[1:, 1:]
    length = np.sqrt(np.diag(table))
    if not (length > 0).all():
        return np.inf
    return float(np.linalg.cond(table / np.outer(length, length)))


def _coefficients(grams: Array) -> Array:
    """Return (G, K): the factors of r and of each d_k in m - r, for a stack of inner products."""
    tables, wanted = grams[:, 1:, 1:], grams[:, 1:, 0]
    length = np.sqrt(np.einsum("gii->gi", tables))
    # A resample may hold no block in which a parent differs from the reference: its factor is 0.
    absent = length == 0
    length[absent] = 1.0
    scaled = tables / (length[:, :, None] * length[:, None, :])
    np.einsum("gii->gi", scaled)[absent] = 1.0
    right = (wanted / length)[..., None]
    try:
        found = np.linalg.solve(scaled, right)
    except np.linalg.LinAlgError:  # two parents alike in every block of a resample
        found = np.linalg.pinv(scaled, hermitian=True) @ right
    return np.asarray(found[..., 0] / length)


def _solved(grams: Array) -> tuple[Array, Array]:
    """Return the common factors (G,) and the shares (G, K) of a stack of inner products."""
    found = _coefficients(grams)
    scale = 1 + found[:, :1]
    others = found[:, 1:] / scale
    return scale[:, 0], np.concatenate([1 - others.sum(axis=1, keepdims=True), others], axis=1)


def _cosine(grams: Array) -> float:
    """Return the cosine of the suspect and its fit over all groups."""
    wanted, found = grams[:, 1:, 0], _coefficients(grams)
    residual = (grams[:, 0, 0] - (found * wanted).sum(axis=1)).clip(min=0).sum()
    length = (grams[:, 0, 0] + 2 * grams[:, 0, 1] + grams[:, 1, 1]).sum()
    return float(np.sqrt(max(0.0, 1 - residual / length))) if length > 0 else 0.0


def _check(mixture: Mixture, parents: int) -> None:
    if mixture.cosine < LEAST_COSINE:
        raise UndefinedError(
            f"the {parents} candidates explain the suspect to a cosine of {mixture.cosine:.3f} "
            f"only, {LEAST_COSINE} is asked for: a parent is missing, or there was no merge"
        )
    if mixture.cosine < EXACT and abs(mixture.scale - 1) > SCALE_OFF:
        raise UndefinedError(
            f"the {parents} candidates add up to {mixture.scale:.2f} of the suspect with a cosine "
            f"of {mixture.cosine:.3f}: a parent that shares nothing with them may be missing"
        )


def _twins(gram: Array, parents: tuple[str, ...]) -> str:
    """Return the names of the two parents that are closest to each other."""
    # Differences to the reference; the reference itself is at 0.
    points = gram[2:, 2:]
    inner = np.zeros((len(parents), len(parents)))
    inner[1:, 1:] = points
    distance = np.diag(inner)[:, None] + np.diag(inner) - 2 * inner
    distance[np.diag_indices(len(parents))] = np.inf
    first, second = np.unravel_index(np.argmin(distance), distance.shape)
    return f"{parents[first]} and {parents[second]}"
