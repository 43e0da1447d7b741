"""Shared neighbours of probes by the hidden states of two models."""

from auditor.measures._hidden import hidden_states
from auditor.measures._neighbours import shared_neighbours
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


@measure(
    "hidden-mutual-knn",
    version=1,
    group="representation",
    unit="share",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=True,
    needs=("hidden",),
    access=Access.WEIGHTS,
    library="torch",
    # Cosines are float32: summed in another order, equal ones swap.
    tolerance=(0.0, 0.01),
)
def hidden_mutual_knn(pair: Pair) -> Array:
    """Share of a probe's 10 nearest probes, by final hidden state, that both models have.

    Formula: |N_x(i) & N_y(i)| / 10, N the 10 other probes with the largest cosine of the hidden
    state that the head reads, averaged over the positions of the reference's text. Huh et al.
    2024, appendix A. The interval resamples these shares with the neighbours as they are:
    neighbours drawn twice would be each other's nearest.

    Range: [0, 1]. Symmetric. Chance: 10 / (P - 1), so values of suites of different sizes do not
    compare.
    Degenerate: undefined with 20 probes or fewer. Equal cosines are ordered by probe.

    Pitfalls: probes of one topic, language or length are neighbours in every model, and strong
    models agree more with each other. No evidence of a link by itself: it is read against controls
    only.
    """
    return shared_neighbours(*hidden_states(pair))
