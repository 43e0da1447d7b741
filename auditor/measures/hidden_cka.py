"""Similarity of the geometry of two models' hidden states."""

from auditor.measures._cka import debiased_cka, subset_cka
from auditor.measures._hidden import hidden_states
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


def subset_values(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the CKA on each of B subsets of the probes, (B, P) bool."""
    return subset_cka(*hidden_states(pair), chosen)


@measure(
    "hidden-cka",
    version=1,
    group="representation",
    unit="coefficient",
    bounds=(-1.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=True,
    needs=("hidden",),
    reduce="pooled",
    access=Access.WEIGHTS,
    library="torch",
    subsets=subset_values,
    # Differences of nearly equal sums.
    tolerance=(1e-9, 1e-9),
)
def hidden_cka(pair: Pair) -> float:
    """Debiased linear CKA of the final hidden states on the reference's text, one mean a probe.

    Formula: HSIC1(K, L) / sqrt(HSIC1(K, K) HSIC1(L, L)) of the Gram matrices of the hidden states
    that the head reads, averaged over a probe's positions. Kornblith et al. 2019 with the unbiased
    HSIC of Song et al. 2012. Widths may differ.

    Range: [-1, 1]; 0 on average for unrelated states. Symmetric; blind to rotation and scale.
    Degenerate: undefined with fewer than 4 probes or where a model has one state for all but one.

    Pitfalls: a few dimensions of large norm can decide it, in derived and independent models alike;
    models of one architecture and data are similar without a link. Biased CKA gave independent
    models 0.81 to 0.84 and derived ones 0.43 to 0.99; the debiased form, too, is read against
    controls only.
    """
    return debiased_cka(*hidden_states(pair))
