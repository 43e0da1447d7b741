"""Hellinger distance of two next-token distributions."""

import numpy as np

from auditor.measures._positions import bounded, probe_means
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


@measure(
    "logit-hellinger",
    version=1,
    group="distribution",
    unit="distance",
    bounds=(0.0, 1.0),
    identical=0.0,
    closer="lower",
    symmetric=True,
    needs=("positions",),
    access=Access.LOGITS,
)
def logit_hellinger(pair: Pair) -> Array:
    """Hellinger distance over the whole vocabulary, mean over positions, then probes.

    Formula: H with H^2 = sum over V of (sqrt p - sqrt q)^2 / 2, temperature 1, same tokens; the
    root is taken at each position, so the value is a mean distance. Hellinger 1909, in the
    normalisation of Le Cam 1986. H^2 <= total variation <= H sqrt(2 - H^2).

    Range: [0, 1]. Units: distance; 1 where the two share no token.
    Degenerate: none.

    Pitfalls: gives small probabilities more weight than total variation does. Not evidence of a
    link by itself: models trained independently on the same data can be as close as a derived one,
    so it is read against controls only.
    """
    return probe_means(pair, np.sqrt(bounded(pair, "hellinger2", 1.0)))
