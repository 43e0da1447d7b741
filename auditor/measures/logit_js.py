"""Jensen-Shannon divergence of two next-token distributions."""

import math

from auditor.measures._positions import bounded, probe_means
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


@measure(
    "logit-js",
    version=1,
    group="distribution",
    unit="nats/token",
    bounds=(0.0, math.log(2)),
    identical=0.0,
    closer="lower",
    symmetric=True,
    needs=("positions",),
    access=Access.LOGITS,
)
def logit_js(pair: Pair) -> Array:
    """Jensen-Shannon divergence over the whole vocabulary, mean over positions, then probes.

    Formula: KL(p || m)/2 + KL(q || m)/2 with m = (p + q)/2, equal weights, temperature 1, same
    tokens. Lin 1991. Finite always: ln 2 where the two share no token.

    Range: [0, ln 2]. Units: nats a token. The divergence, not its square root.
    Degenerate: none; a token that only one model allows counts like any other.

    Pitfalls: dominated by the positions where both are sure. Raw JS has no evidential value: it
    separated derived from independent models with AUC 0.51, and with AUC 1.00 once agreement with
    controls was taken off.
    """
    return probe_means(pair, bounded(pair, "js", math.log(2)))
