"""Similarity of attention weights after the residual dimensions were aligned."""

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access


@measure(
    "weight-cka",
    version=1,
    group="weights",
    unit="coefficient",
    bounds=(-1.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=True,
    needs=("weight_cka",),
    reduce="pooled",
    access=Access.WEIGHTS,
    library="scipy",
    resampled=False,
    tolerance=(1e-9, 1e-9),
)
def weight_cka(pair: Pair) -> float:
    """Mean debiased CKA of query and key weights over the best one-to-one pairing of the layers.

    Formula: the suspect's residual dimensions get partners in the reference by optimal assignment
    of the |cosine| of the embedding columns over the shared vocabulary, and their sign; then the
    debiased CKA of W_Q and of W_K, with the residual dimensions as items, of each pair of layers;
    the mean of both is maximised over one-to-one pairings of layers, and averaged over the pairs.
    AWM (ICLR 2026) with the unbiased HSIC of Song et al. 2012.

    Range: [-1, 1]; 0 on average for unrelated weights whose dimensions are not aligned by chance.
    Symmetric in the pairing of the layers. Depth and width may differ.
    Degenerate: undefined without a known form of query and key projections, with too few shared
    tokens, and where weights do not vary over the dimensions.

    Pitfalls: broken by a rotation of the residual stream other than a permutation with signs.
    The best pairing is a maximum over many: with many layers its mean lies above 0 for independent
    models, and more so where they share data. An effect size, read against controls only.
    """
    from scipy.optimize import linear_sum_assignment

    pair.require("weight_cka")
    table = np.asarray(pair.weight_cka, dtype=np.float64)
    if not table.size:
        raise UndefinedError("no layer of attention weights was collected")
    both = table.mean(axis=2)  # (L, L', 2) -> (L, L')
    ours, theirs = linear_sum_assignment(both, maximize=True)
    return float(np.clip(both[ours, theirs].mean(), -1.0, 1.0))
