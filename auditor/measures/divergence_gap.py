"""How much nearer a suspect is to the reference than to the nearest control."""

import math

from auditor.errors import UndefinedError
from auditor.measures._gap import gap_by_probe
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


@measure(
    "divergence-gap",
    version=1,
    group="distribution",
    unit="nats/token",
    bounds=(-math.log(2), math.log(2)),
    identical=None,
    closer="higher",
    symmetric=False,
    needs=("topk", "pool"),
    access=Access.TOPK,
)
def divergence_gap(pair: Pair) -> Array:
    """Jensen-Shannon divergence to the nearest control less that to the reference, by probe.

    Formula: min_c JSD(C, S) - JSD(R, S), each the mean over positions, then probes; the nearest
    control is one and the same for all probes. The logic of Nikolic et al. 2025 with a divergence
    in place of agreement. From the stored likeliest tokens: the tokens that both models list
    are compared one by one, all others as the remainder that their tails allow at least, which is
    a lower bound of the divergence over the whole vocabulary (see `coarse_divergence`).

    Range: [-ln 2, ln 2], in nats a token; positive where the reference is nearer than any control.
    Not symmetric. A copy has the divergence of the reference from its nearest control.
    Degenerate: undefined with fewer than 3 controls that list tokens for the same positions, where
    the reference lists them for others (their vocabularies differ), or where the tokens not stored
    have more than half of the probability of the reference or the suspect. With 20 stored tokens
    small models usually keep 0.05 to 0.3 outside.

    Pitfalls: raw divergence has no evidential value, and this gap is only as good as the pool: the
    more controls, the nearer the nearest. A suspect that started from a control, or has its base
    in the pool, is nearer to that than to the model it imitates, and the gap turns negative (z
    -9): name the base, and do not read a low gap as independence. Temperature 1 throughout: a
    suspect that serves another temperature seems far from everybody.
    """
    pair.require("topk")
    pair.require("pool")
    ours, theirs = pair.reference.topk, pair.suspect.topk
    if ours is None or theirs is None or not (len(ours) and len(theirs)):
        lacking = pair.reference if ours is None or not len(ours) else pair.suspect
        raise UndefinedError(f"no topk of {lacking.subject}")
    lists = [control.topk for control in pair.pool if control.topk is not None]
    names = pair.reference.subject, pair.suspect.subject
    return gap_by_probe((ours, theirs), lists, names, len(pair.probes))
