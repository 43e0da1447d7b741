"""Total variation distance of two next-token distributions."""

from auditor.measures._positions import bounded, probe_means
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


@measure(
    "logit-tv",
    version=1,
    group="distribution",
    unit="share",
    bounds=(0.0, 1.0),
    identical=0.0,
    closer="lower",
    symmetric=True,
    needs=("positions",),
    access=Access.LOGITS,
)
def logit_tv(pair: Pair) -> Array:
    """Total variation distance over the whole vocabulary, mean over positions, then probes.

    Formula: sum over V of |p - q| / 2, temperature 1, same tokens: the share of tokens that would
    have to be drawn differently (Levin & Peres 2017, proposition 4.7). One minus it is the
    acceptance rate of speculative decoding with the suspect as the draft (Leviathan et al. 2023).

    Range: [0, 1]. Units: share of probability.
    Degenerate: none.

    Pitfalls: blind to how the rare tokens are distributed. Not evidence of a link by itself: models
    trained independently on the same data can be as close as a derived one, so it is read against
    controls only.
    """
    return probe_means(pair, bounded(pair, "tv", 1.0))
