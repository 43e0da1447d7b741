"""How often two models put the same token first."""

import numpy as np

from auditor.measures._positions import column, probe_means
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


@measure(
    "logit-top1",
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
def logit_top1(pair: Pair) -> Array:
    """Share of positions where both models have the same likeliest token, mean over probes.

    Formula: 1 where argmax p = argmax q, else 0, on the same tokens. Among equal logits the lowest
    id is first in both models.

    Range: [0, 1]. Units: share of positions.
    Degenerate: with bfloat16 logits 1 to 7 % of positions tie at the top; the tie rule makes them
    reproducible, not meaningful.

    Pitfalls: most of natural text is easy, so unrelated models agree on most of it. Raw top-1
    agreement separated derived from independent models with AUC 0.50: read it against controls.
    """
    same = column(pair, "argmax_a") == column(pair, "argmax_b")
    return probe_means(pair, same.astype(np.float64))
