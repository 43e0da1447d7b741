"""Do the suspect's replies rank among the reference's own as one of them would?"""

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._equality import LOWEST, RELABELLINGS, check_probes, draws_of, log10_p
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.panel import TEMPERATURES
from auditor.types import Array, Probe

_AS_IS = TEMPERATURES.index(1.0)
_SUSPECT, _REFERENCE = 0, 1


@measure(
    "equality-rank",
    version=1,
    group="identity",
    unit="log10 p",
    bounds=(LOWEST, 0.0),
    identical=None,
    closer="higher",
    symmetric=False,
    needs=("crossing",),
    reduce="pooled",
    resampled=False,
)
def equality_rank(pair: Pair) -> float:
    """Base-10 logarithm of the p-value that the suspect's replies rank as the reference's own do.

    It answers "is it the same model?" (a changed endpoint, a substitution, quantisation), never
    "was one derived from the other?": a low value says "not the same", a value near 0 "no
    difference seen".

    Formula: on each probe, the log-likelihood of the suspect's first reply under the reference
    is ranked among those of the reference's other m replies (all but its first, which local models
    draw with the same random numbers; with one repeat, that one). The ranks are compared with equal
    shares of m + 1 cells by the discrete Cramer-von Mises statistic (Choulakian, Lockhart &
    Stephens 1994): sum over cells of D_j^2 / (n (m + 1)), D_j the cumulated difference; a tie is
    spread over its ranks. The rank-based uniformity test of arXiv 2506.06975, with the likelihood
    in place of the log-rank. The null lets each of the m + 1 replies of a probe take the suspect's
    place, 9,999 times: p = (1 + #{redrawn >= observed}) / 10,000.

    Null: replies to one probe are exchangeable between the two: same weights, template, decoding.
    Exact for any m and any ties. Under it p is uniform: a subject against itself gives any value.

    Range: [-4, 0]. Not symmetric: only the reference scores.
    Degenerate: undefined with fewer than 8 probes that are scored whole, and where the reference
    did not score its own replies.

    Pitfalls: sees what changes the likelihood under the reference: a mixture of duller and wilder
    replies may cancel only in part, a model of equal likelihoods is not seen. With one repeat it is
    a sign test between two replies, with little power. Compare under one decoding. No evidence of a
    link or of its absence.
    """
    pair.require("crossing")
    kept, pooled = _pooled(pair)
    cumulated = _cumulated(pooled)  # (K, m + 1, m)
    observed = cumulated[:, 0].sum(axis=0)
    drawn = np.zeros((RELABELLINGS, cumulated.shape[2]))
    for probe, shares in zip(kept, cumulated, strict=True):
        places = draws_of(probe, "equality-rank").randint(0, len(shares), size=RELABELLINGS)
        drawn += shares[places]
    return log10_p(float(_discrepancy(observed, len(kept))), _discrepancy(drawn, len(kept)))


def _pooled(pair: Pair) -> tuple[list[Probe], Array]:
    """Return the K probes that are scored whole, and (K, m + 1): the suspect's score, then m.

    The crossing scores equal replies to a probe once, so that their scores are equal, too.
    """
    if pair.crossing is None or pair.crossing.logprob.shape[1] <= _REFERENCE:
        raise UndefinedError("the crossing lacks the reference as an author")
    scores = pair.crossing.logprob[0, :, :, :, _AS_IS]  # (A, P, N)
    own = scores[_REFERENCE]
    own = own[:, np.isfinite(own).any(axis=0)]
    if not own.size:
        raise UndefinedError("the reference did not score its own replies")
    others = own[:, 1:] if own.shape[1] > 1 else own
    rows = np.concatenate([scores[_SUSPECT, :, :1], others], axis=1)
    whole = np.flatnonzero(np.isfinite(rows).all(axis=1))
    check_probes(len(whole), "replies of both that the reference scored")
    return [pair.probes[i] for i in whole], rows[whole]


def _cumulated(pooled: Array) -> Array:
    """Return (K, m + 1, m): the share of reply k's rank in cells up to j, ties spread evenly.

    The last cell is left out: all shares cumulate to 1 there.
    """
    mine, others = pooled[:, :, None], pooled[:, None, :]
    below = (others < mine).sum(axis=2)  # (K, m + 1)
    equal = (others == mine).sum(axis=2)  # itself included
    cells = np.arange(1, pooled.shape[1])
    return np.clip((cells - below[:, :, None]) / equal[:, :, None], 0.0, 1.0)


def _discrepancy(cumulated: Array, count: int) -> Array:
    """Return the Cramer-von Mises statistic of (..., m) cumulated counts of `count` ranks."""
    cells = cumulated.shape[-1] + 1
    expected = count * np.arange(1, cells) / cells
    return np.square(cumulated - expected).sum(axis=-1) / (count * cells)
