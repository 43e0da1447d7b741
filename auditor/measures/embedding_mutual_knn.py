"""Shared neighbours of probes by the replies of two subjects."""

from auditor.measures._embeddings import probe_vectors
from auditor.measures._neighbours import shared_neighbours
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Array


@measure(
    "embedding-mutual-knn",
    version=1,
    group="representation",
    unit="share",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=True,
    needs=("embeddings",),
    library="torch",
    # Cosines are float32: summed in another order, equal ones swap.
    tolerance=(0.0, 0.01),
)
def embedding_mutual_knn(pair: Pair) -> Array:
    """Share of a probe's 10 nearest probes, by reply embedding, that both subjects have.

    Formula: |N_x(i) & N_y(i)| / 10, N the 10 other probes with the largest cosine of the mean reply
    embedding. Huh et al. 2024, appendix A. The interval resamples these shares with the neighbours
    as they are: neighbours drawn twice would be each other's nearest.

    Range: [0, 1]. Symmetric. Chance: 10 / (P - 1), so values of suites of different sizes do not
    compare.
    Degenerate: undefined with 20 probes or fewer. Equal cosines are ordered by probe.

    Pitfalls: probes on one subject are neighbours for every model that answers them. No evidence of
    a link by itself: it is read against controls only.
    """
    return shared_neighbours(*probe_vectors(pair))
