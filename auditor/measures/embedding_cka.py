"""Similarity of the geometry of two subjects' replies."""

from auditor.measures._cka import debiased_cka, subset_cka
from auditor.measures._embeddings import probe_vectors
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Array


def subset_values(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the CKA on each of B subsets of the probes, (B, P) bool."""
    return subset_cka(*probe_vectors(pair), chosen)


@measure(
    "embedding-cka",
    version=1,
    group="representation",
    unit="coefficient",
    bounds=(-1.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=True,
    needs=("embeddings",),
    reduce="pooled",
    library="torch",
    subsets=subset_values,
    # Differences of nearly equal sums.
    tolerance=(1e-9, 1e-9),
)
def embedding_cka(pair: Pair) -> float:
    """Debiased linear CKA of the reply embeddings: do both place the probes alike to each other.

    Formula: HSIC1(K, L) / sqrt(HSIC1(K, K) HSIC1(L, L)) of the Gram matrices of each subject's mean
    reply embedding a probe. Kornblith et al. 2019 with the unbiased HSIC of Song et al. 2012.

    Range: [-1, 1]; 0 on average for unrelated replies. Symmetric; blind to rotation and scale.
    Degenerate: undefined with fewer than 4 probes, or where a subject replies alike to all but one.

    Pitfalls: replies follow the probes, so any two models that answer the question score high. The
    biased form, often published, is near 1 for few probes and is not used. No evidence of a link
    by itself: it is read against controls only.
    """
    return debiased_cka(*probe_vectors(pair))
