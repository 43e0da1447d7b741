"""Whether a suspect departs from the controls where, and as, the reference does."""

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._pool import control_columns, positioned_controls
from auditor.measures._positions import column
from auditor.measures._registry import measure
from auditor.measures._residual import (
    FEWEST,
    correlations,
    residual_moments,
    subset_correlations,
)
from auditor.outputs import Pair
from auditor.types import Access, Array


def subset_values(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the correlation on each of B subsets of the probes, (B, P); NaN: undefined."""
    return subset_correlations(_moments(pair), chosen)


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
    subsets=subset_values,
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
    value = float(correlations(_moments(pair).sum(axis=0)[None])[0])
    if np.isnan(value):
        raise UndefinedError("the reference or the suspect never departs from the controls")
    return value


def _moments(pair: Pair) -> Array:
    controls = positioned_controls(pair, FEWEST)
    probe = column(pair, "probe")
    return residual_moments(
        (column(pair, "logp_a"), column(pair, "logp_b"), *control_columns(controls, "logp_b")),
        tuple(control.family for control in controls),
        (probe, np.broadcast_to(1.0, len(probe)), len(pair.probes)),
    )
