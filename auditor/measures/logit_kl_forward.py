"""Kullback-Leibler divergence of the suspect's next-token distribution from the reference's."""

import math

from auditor.measures._positions import finite_divergence, probe_means
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


@measure(
    "logit-kl-forward",
    version=1,
    group="distribution",
    unit="nats/token",
    bounds=(0.0, math.inf),
    identical=0.0,
    closer="lower",
    symmetric=False,
    needs=("positions",),
    access=Access.LOGITS,
)
def logit_kl_forward(pair: Pair) -> Array:
    """KL(reference || suspect) over the whole vocabulary, mean over positions, then probes.

    Formula: sum over V of p (ln p - ln q), p the reference, q the suspect, both at temperature 1
    on the same tokens; 0 ln 0 is 0. Kullback & Leibler 1951. The divergence that forward-KL
    distillation minimises: large where the suspect misses what the reference would say.

    Range: [0, inf). Units: nats a token.
    Degenerate: undefined, with the count, where the suspect excludes a token that the reference
    allows.

    Pitfalls: rounding logits to bfloat16 alone costs 4e-5 to 7e-5 nats and to float16 about 1e-6;
    below that floor a value says nothing. Two vocabularies that differ have no such divergence.
    Not evidence of a link by itself: models trained independently on the same data can be as close
    as a derived one, so it is read against controls only.
    """
    return probe_means(pair, finite_divergence(pair, "kl_ab", "suspect", "reference"))
