"""How often a suspect follows the reference where the reference stands alone."""

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._pool import control_columns, positioned_controls, probe_sums
from auditor.measures._positions import column
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array

FEWEST = 3
"""Controls: of fewer, a most frequent choice is nobody's or everybody's."""


def subset_agreements(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the agreement on each of B subsets of the probes, (B, P); NaN: undefined."""
    counts = chosen.astype(np.float64) @ _alone_and_followed(pair)  # (B, 2)
    nothing = np.full(len(counts), np.nan)
    return np.divide(counts[:, 1], counts[:, 0], out=nothing, where=counts[:, 0] > 0)


@measure(
    "idiosyncratic-agreement",
    version=1,
    group="idiosyncrasy",
    unit="share",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=False,
    needs=("positions", "pool"),
    reduce="pooled",
    access=Access.TOPK,
    subsets=subset_agreements,
)
def idiosyncratic_agreement(pair: Pair) -> float:
    """Share of the positions where the reference stands alone at which the suspect agrees with it.

    Formula: D = {positions: the reference's likeliest token is none of those that most controls
    put first}; the value is the mean over D of 1[the suspect's likeliest token is the reference's].
    Extends Nikolic et al. 2025 (agreement against controls) by looking only where agreement is no
    matter of course. Every position of D counts alike. Where several tokens have most votes, the
    reference stands alone only if its own is none of them.

    Range: [0, 1]; independent models agree in about a fifth to a quarter. Not symmetric.
    Degenerate: undefined with fewer than 3 controls of the reference's vocabulary, or where the
    reference never stands alone.

    Pitfalls: the level depends on the pool (the more it is like the reference, the fewer and the
    stranger the positions of D), so it is read against the controls' own values with equal pools.
    Out-of-distribution probes carry most of it. A damaged replica (heavy pruning, a failed merge)
    falls below independent models: a low value is no evidence against replication.
    """
    alone, followed = _alone_and_followed(pair).sum(axis=0).tolist()
    if not alone:
        raise UndefinedError(
            "at every position the reference expects what most controls expect: nothing in its "
            "choices is its own"
        )
    return followed / alone


def _alone_and_followed(pair: Pair) -> Array:
    """Return (P, 2): positions where the reference stands alone, and those where S follows it."""
    controls = positioned_controls(pair, FEWEST)
    ours, theirs = column(pair, "argmax_a"), column(pair, "argmax_b")
    votes = control_columns(controls, "argmax_b")  # (K, T)
    # (T): how many controls vote as each control does; the most frequent choice has the largest
    most = np.stack([(votes == vote).sum(axis=0) for vote in votes]).max(axis=0)
    alone = (votes == ours).sum(axis=0) < most
    counts = np.stack([alone, alone & (ours == theirs)], axis=1).astype(np.float64)
    return probe_sums(column(pair, "probe"), counts, len(pair.probes))
