"""How much of the ten likeliest tokens two models share."""

from auditor.measures._positions import column, probe_means
from auditor.measures._registry import measure
from auditor.outputs import TOPK, Pair
from auditor.types import Access, Array

K = 10


@measure(
    "logit-topk-overlap",
    version=1,
    group="distribution",
    unit="share",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=True,
    needs=("positions",),
    access=Access.LOGITS,
)
def logit_topk_overlap(pair: Pair) -> Array:
    """Share of the 10 likeliest tokens that both models have, mean over positions, then probes.

    Formula: |top10(p) & top10(q)| / 10 on the same tokens, order inside the ten ignored. Among
    equal logits the lowest ids come first.

    Range: [0, 1]. Units: share of the ten. Chance for two unrelated rankings: 10 / V.
    Degenerate: a vocabulary of 10 or fewer gives 1 for any two models.

    Pitfalls: where one token has nearly all the probability, the other nine are noise and still
    count. Not evidence of a link by itself: it is read against controls only.
    """
    return probe_means(pair, column(pair, "topk_overlap")[:, TOPK.index(K)])
