"""Whether a suspect departs from the controls where, and as, the reference does."""

import itertools

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._pool import control_columns, positioned_controls, probe_sums
from auditor.measures._positions import column
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.panel import Control
from auditor.types import Access, Array

FEWEST = 4
"""Control families: two for each half."""
SPLITS = 20
"""At most so many ways of dividing the families in two."""
_SEED = 20260101


def subset_correlations(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the correlation on each of B subsets of the probes, (B, P); NaN: undefined."""
    sums = _moments(pair)  # (P, D, 6)
    flat = chosen.astype(np.float64) @ sums.reshape(len(sums), -1)
    return _correlations(flat.reshape(len(chosen), *sums.shape[1:]))


@measure(
    "residual-correlation",
    version=1,
    group="idiosyncrasy",
    unit="correlation",
    bounds=(-1.0, 1.0),
    identical=None,
    closer="higher",
    symmetric=False,
    needs=("positions", "pool"),
    reduce="pooled",
    access=Access.TOPK,
    subsets=subset_correlations,
)
def residual_correlation(pair: Pair) -> float:
    """Correlation of what the reference and the suspect add to the controls' expectations.

    Formula: r_M = lp_M - mean_c lp_c, lp the log-probability of the token at a position; Pearson's
    correlation of r_reference and r_suspect over all positions, where the means are over disjoint
    halves of the controls; averaged over up to 20 fixed ways of dividing them, each with its
    halves exchanged. One set of controls in both residuals would correlate independent models
    by about 1/(K + 1). A partial correlation; families of controls are kept in one half.

    Range: [-1, 1]; about 0 for independent models of the same data. A copy is below 1, since the
    two halves differ. Not symmetric: the text is the reference's.
    Degenerate: undefined with fewer than 4 control families of the reference's vocabulary, or
    where a residual does not vary. Positions at which a model excludes the token are left out.

    Pitfalls: students of a sibling teacher reach z about 3: data that reference and suspect share,
    and the controls lack, correlate them. The tokens are the reference's own text, so
    the suspect must be scored on text that it did not write: access to log-probabilities.
    """
    value = float(_correlations(_moments(pair).sum(axis=0)[None])[0])
    if np.isnan(value):
        raise UndefinedError("the reference or the suspect never departs from the controls")
    return value


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


def _moments(pair: Pair) -> Array:
    """Return (P, D, 6): number, sums, squares and products of both residuals, a division each."""
    controls = positioned_controls(pair, FEWEST)
    first = halves(_families(controls))
    values = [column(pair, "logp_a"), column(pair, "logp_b"), *control_columns(controls, "logp_b")]
    usable: Array = np.asarray(np.isfinite(values).all(axis=0))
    ours, theirs, *others = (np.where(usable, value, 0.0) for value in values)
    rest = np.stack(others)  # (K, T)
    means = [(half / half.sum(axis=1, keepdims=True)) @ rest for half in (first, ~first)]  # (D, T)
    x, y = ours - means[0], theirs - means[1]
    products = np.stack([np.ones(x.shape), x, y, x * x, y * y, x * y], axis=-1) * usable[:, None]
    return probe_sums(column(pair, "probe"), products.transpose(1, 0, 2), len(pair.probes))


def _families(controls: tuple[Control, ...]) -> tuple[str, ...]:
    families = tuple(control.family for control in controls)
    if len(set(families)) < FEWEST:
        raise UndefinedError(
            f"the controls with positions are of {len(set(families))} families; "
            f"two halves need {FEWEST}"
        )
    return families


def _correlations(sums: Array) -> Array:
    """Return (B,) from (B, D, 6): the mean over the divisions; NaN where one is undefined."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    size = np.maximum(n, 1.0)
    var_x, var_y, cov = xx - x * x / size, yy - y * y / size, xy - x * y / size
    # Below rounding of the sums there is no variation.
    varies = (var_x > 1e-12 * xx) & (var_y > 1e-12 * yy)
    spread = np.sqrt(np.where(varies, var_x * var_y, 1.0))
    return np.where(varies, np.clip(cov / spread, -1.0, 1.0), np.nan).mean(axis=1)
