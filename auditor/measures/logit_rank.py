"""Where the suspect ranks the token that the reference would choose."""

from auditor.measures._positions import column, probe_means
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


@measure(
    "logit-rank",
    version=1,
    group="distribution",
    unit="reciprocal rank",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=False,
    needs=("positions",),
    access=Access.LOGITS,
)
def logit_rank(pair: Pair) -> Array:
    """Mean reciprocal rank, in the suspect, of the reference's likeliest token.

    Formula: 1 / (1 + #{tokens that the suspect finds strictly likelier than argmax p}), mean over
    positions, then over probes. Reciprocal rank: Voorhees 1999.

    Range: (0, 1]. 1 where the suspect would choose the same token, 1/2 where it is its second.
    Degenerate: the rank counts strictly likelier tokens, so ties take the best case; a suspect
    whose logits are all equal scores 1, and shows by an entropy of ln V (large divergences).

    Pitfalls: like top-1 agreement, high for unrelated models on easy text. Not evidence of a link
    by itself: it is read against controls only.
    """
    return probe_means(pair, 1.0 / column(pair, "rank_argmax_a_in_b"))
