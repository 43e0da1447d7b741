"""How much nearer a suspect is to the reference than to the nearest control."""

import math

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._coarse import coarse_divergence
from auditor.measures._registry import measure
from auditor.outputs import OutputSet, Pair
from auditor.types import Access, Array

FEWEST = 3
"""Controls: the nearest of fewer is not near."""
LARGEST_TAIL = 0.5
"""Mean probability outside the stored tokens beyond which they say too little."""


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
    ours, theirs = _listed(pair.reference), _listed(pair.suspect)
    if not np.array_equal(ours["probe"], theirs["probe"]):
        raise UndefinedError(
            "the reference and the suspect do not list tokens at the same positions: they cut its "
            "text into other tokens"
        )
    near = [_probe_means(control, theirs, len(pair.probes)) for control in _controls(pair, theirs)]
    nearest = min(near, key=lambda values: math.fsum(values[~np.isnan(values)]))
    return nearest - _probe_means(ours, theirs, len(pair.probes))


def _listed(outputs: OutputSet) -> Array:
    """Return the top-k rows of a subject.

    Raises:
        UndefinedError: they are missing, or leave too much probability outside.
    """
    if outputs.topk is None or not len(outputs.topk):
        raise UndefinedError(f"no topk of {outputs.subject}")
    tail = float(outputs.topk["tail"].mean())
    if tail > LARGEST_TAIL:
        raise UndefinedError(
            f"the tokens that {outputs.subject} does not list have {tail:.2f} of its probability "
            f"on average, more than {LARGEST_TAIL}"
        )
    return outputs.topk


def _controls(pair: Pair, theirs: Array) -> list[Array]:
    """Return the rows of the controls that list tokens at the same positions.

    Raises:
        UndefinedError: there are fewer than `FEWEST`.
    """
    pair.require("pool")
    found = [
        control.topk
        for control in pair.pool
        if control.topk is not None and np.array_equal(control.topk["probe"], theirs["probe"])
    ]
    if len(found) < FEWEST:
        raise UndefinedError(
            f"{len(found)} controls of the pool list tokens at the positions of the pair; "
            f"{FEWEST} are needed"
        )
    return found


def _probe_means(rows: Array, theirs: Array, probes: int) -> Array:
    """Return (P,) divergences between rows at the same positions; NaN for a probe without any."""
    probe = theirs["probe"]
    total = np.bincount(probe, weights=coarse_divergence(rows, theirs), minlength=probes)
    count = np.bincount(probe, minlength=probes)
    return np.divide(total, count, out=np.full(probes, np.nan), where=count > 0)
