"""How often a suspect follows the reference where the reference stands alone."""

from auditor.measures._alone import (
    alone_and_followed,
    share_followed,
    shares_followed,
    text_choices,
)
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


def subset_agreements(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the agreement on each of B subsets of the probes, (B, P); NaN: undefined."""
    return shares_followed(_counts(pair), chosen)


@measure(
    "idiosyncratic-agreement",
    version=1,
    group="idiosyncrasy",
    unit="share",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=False,
    needs=("choices", "pool"),
    reduce="pooled",
    access=Access.TOPK,
    subsets=subset_agreements,
)
def idiosyncratic_agreement(pair: Pair) -> float:
    """Share of the positions where the reference stands alone at which the suspect agrees with it.

    Formula: D = {positions: the reference's likeliest token is none of those that most controls
    put first}; the value is the mean over D of 1[the suspect's likeliest token is the reference's].
    Extends Nikolic et al. 2025 (agreement against controls) by looking only where agreement is no
    matter of course. Every position of D counts alike. Where several tokens have most votes, the
    reference stands alone only if its own is none of them.

    Range: [0, 1]; independent models agree in about a fifth to a quarter. Not symmetric.
    Degenerate: undefined with fewer than 3 controls of the reference's vocabulary, where the
    reference never stands alone, or where the suspect shows less than half of its choices.

    Pitfalls: the level depends on the pool (the more it is like the reference, the fewer and the
    stranger the positions of D), so it is read against the controls' own values with equal pools.
    Out-of-distribution probes carry most of it. A damaged replica (heavy pruning, a failed merge)
    falls below independent models: a low value is no evidence against replication.
    """
    return share_followed(_counts(pair))


def _counts(pair: Pair) -> Array:
    return alone_and_followed(text_choices(pair), len(pair.probes))
