"""How much nearer a suspect's first tokens are to the reference's than to the nearest control's."""

import math

from auditor.measures._first_tokens import common_lists
from auditor.measures._gap import gap_by_probe
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


@measure(
    "first-token-gap",
    version=1,
    group="distribution",
    unit="nats/token",
    bounds=(-math.log(2), math.log(2)),
    identical=None,
    closer="higher",
    symmetric=False,
    needs=("answers", "pool"),
    access=Access.TOPK,
)
def first_token_gap(pair: Pair) -> Array:
    """Jensen-Shannon divergence to the nearest control less that to the reference, first tokens.

    Formula: that of divergence-gap, at the first token of the reply to each probe: min_c JSD(C, S)
    - JSD(R, S), the mean over probes; the nearest control is one and the same for all probes. What
    stands outside a list is one bucket, as `coarse_divergence` has it. A server shows the list
    beside its own replies; no text need be given to it.

    Range: [-ln 2, ln 2], in nats a token; positive where the reference is nearer than any control.
    Not symmetric.
    Degenerate: undefined with fewer than 3 controls that list first tokens, or where the tokens not
    listed have more than half of the probability of the reference or the suspect.

    Pitfalls: those of divergence-gap. Few tokens listed (5 of a hosted chat) leave much outside,
    and what is outside can only hide a difference.
    """
    ours, theirs, lists = common_lists(pair)
    names = pair.reference.subject, pair.suspect.subject
    return gap_by_probe((ours, theirs), lists, names, len(pair.probes))
