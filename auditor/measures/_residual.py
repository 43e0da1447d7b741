"""Correlation of what two models add to controls that are divided in two disjoint halves.

One set of controls in both residuals would correlate independent models by about 1/(K + 1).
"""

import itertools

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._pool import summed_blocks
from auditor.types import Array

FEWEST = 4
"""Control families: two for each half."""
SPLITS = 20
"""At most so many ways of dividing the families in two."""
_SEED = 20260101


def halves(families: tuple[str, ...]) -> Array:
    """Return (D, K) bool: ways of dividing controls in two, first half True, families whole.

    All equal divisions of the sorted family names, or SPLITS / 2 fixed draws of them, each followed
    by its exchange.
    """
    names = sorted(set(families))
    first = [frozenset(half) for half in itertools.combinations(names, len(names) // 2)]
    if len(first) > SPLITS:
        random = np.random.RandomState(_SEED)
        drawn = [random.permutation(len(names))[: len(names) // 2] for _ in range(SPLITS // 2)]
        one_way = [frozenset(names[i] for i in half) for half in drawn]
        first = [part for half in one_way for part in (half, frozenset(names) - half)]
    else:
        # Of an odd number, the larger half comes first as often as the smaller one.
        first = list(dict.fromkeys([*first, *(frozenset(names) - half for half in first)]))
    return np.array([[family in half for family in families] for half in first])


def residual_moments(
    values: tuple[Array, ...], families: tuple[str, ...], places: tuple[Array, Array, int]
) -> Array:
    """Return (P, D, 6): weight, sums, squares and products of both residuals, a division each.

    Args:
        values: (T,) of the reference, of the suspect and of each of the K controls; where one of
            them is not finite the place does not count.
        families: (K,) of the controls.
        places: (T,) probe and (T,) weight of each place, and the number of probes P.

    Raises:
        UndefinedError: the controls are of fewer than `FEWEST` families.
    """
    if len(set(families)) < FEWEST:
        raise UndefinedError(
            f"the controls with positions are of {len(set(families))} families; "
            f"two halves need {FEWEST}"
        )
    probe, weight, probes = places
    first = halves(families)  # (D, K)
    shares = tuple(half / half.sum(axis=1, keepdims=True) for half in (first, ~first))

    def products(block: slice) -> Array:
        return _products(np.stack([value[block] for value in values]), shares, weight[block])

    return summed_blocks(probe, 6 * len(first), products, probes)


def _products(values: Array, shares: tuple[Array, ...], weight: Array) -> Array:
    """Return (t, D, 6) of (2 + K, t) values, two (D, K) shares of the controls and (t,) weights."""
    usable: Array = np.asarray(np.isfinite(values).all(axis=0))
    ours, theirs, *others = np.where(usable, values, 0.0)
    means = [share @ np.stack(others) for share in shares]  # (D, t)
    x, y = ours - means[0], theirs - means[1]
    products = np.stack([np.ones(x.shape), x, y, x * x, y * y, x * y], axis=-1)
    products *= (weight * usable)[:, None]
    return products.transpose(1, 0, 2)


def correlations(sums: Array) -> Array:
    """Return (B,) from (B, D, 6): the mean over the divisions; NaN where one is undefined."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    size = np.maximum(n, 1.0)
    var_x, var_y, cov = xx - x * x / size, yy - y * y / size, xy - x * y / size
    # Below rounding of the sums there is no variation.
    varies = (var_x > 1e-12 * xx) & (var_y > 1e-12 * yy)
    spread = np.sqrt(np.where(varies, var_x * var_y, 1.0))
    return np.where(varies, np.clip(cov / spread, -1.0, 1.0), np.nan).mean(axis=1)


def subset_correlations(moments: Array, chosen: Array) -> Array:
    """Return (B,) the correlation on each of B subsets of the probes, (B, P); NaN: undefined."""
    flat = chosen.astype(np.float64) @ moments.reshape(len(moments), -1)
    return correlations(flat.reshape(len(chosen), *moments.shape[1:]))
