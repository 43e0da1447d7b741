"""Whether a suspect departs from the controls in its own replies where the reference does."""

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._crossing import said_once
from auditor.measures._registry import measure
from auditor.measures._residual import (
    correlations,
    residual_moments,
    subset_correlations,
)
from auditor.outputs import Pair
from auditor.panel import TEMPERATURES
from auditor.types import Access, Array

FEWEST_REPLIES = 8
"""A correlation of fewer says nothing."""


def subset_values(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the correlation on each of B subsets of the probes, (B, P); NaN: undefined."""
    return subset_correlations(_moments(pair), chosen)


@measure(
    "own-residual-correlation",
    version=1,
    group="idiosyncrasy",
    unit="correlation",
    bounds=(-1.0, 1.0),
    identical=None,
    closer="higher",
    symmetric=False,
    needs=("crossing", "pool", "own"),
    reduce="pooled",
    access=Access.TOPK,
    subsets=subset_values,
)
def own_residual_correlation(pair: Pair) -> float:
    """Correlation, over the suspect's replies, of how both depart from the controls on them.

    Formula: r_M(x) = [log p_M(x) - mean_c log p_c(x)] / bytes of x, x a reply of the suspect and
    log p_suspect what it showed beside its own tokens; Pearson's correlation of r_reference and
    r_suspect over the replies, each weighing as its bytes, where the means are over disjoint halves
    of the controls, divided as in residual-correlation. Its level is what sample-llr measures; here
    the mean is taken out, and only where the suspect surprises the controls more counts.

    Range: [-1, 1]; about 0 for independent models. Not symmetric: the texts are the suspect's.
    Degenerate: undefined with fewer than 4 control families that scored the replies, fewer than 8
    replies of which the suspect's own log-probability is known, or where a residual does not vary.

    Pitfalls: weak. Beside the shipped pack it showed copies, two of three tiny students by logits,
    none by text, and one of 17 unlinked families; no reading rests on it. Sampled at a low
    temperature, replies differ little and the correlation is noise. Servers show log-probabilities
    of the model (temperature 1) or of what they drew from; of the latter the residual mixes both.
    It uses the replies of sample-llr, with which it is correlated: the two are no independent
    findings.
    """
    value = float(correlations(_moments(pair).sum(axis=0)[None])[0])
    if np.isnan(value):
        raise UndefinedError("the reference or the suspect never departs from the controls")
    return value


def _moments(pair: Pair) -> Array:
    pair.require("own")
    crossing, own = pair.crossing, pair.own
    if crossing is None or own is None:  # `require` has raised
        raise TypeError("no crossing")
    families = {control.name: control.family for control in pair.pool}
    lengths = crossing.bytes[0]  # (P, N)
    counts = (lengths > 0) & said_once(pair, crossing)[0]
    scores = crossing.logprob[:, 0, ..., TEMPERATURES.index(1.0)]  # (S, P, N)
    per_byte = np.concatenate([own[None], scores]) / np.where(counts, lengths, np.nan)
    theirs, ours = per_byte[:2].reshape(2, -1)
    known = np.isfinite(theirs) & np.isfinite(ours)
    if known.sum() < FEWEST_REPLIES:
        raise UndefinedError(
            f"the log-probability of {known.sum()} replies of {pair.suspect.subject} is known to "
            f"itself and to the reference; {FEWEST_REPLIES} are needed"
        )
    probe = np.repeat(np.arange(len(lengths)), lengths.shape[1])
    return residual_moments(
        (ours, theirs, *per_byte[2:].reshape(len(per_byte) - 2, ours.size)),
        tuple(families[name] for name in crossing.scorers[1:]),
        (probe, np.where(counts, lengths, 0.0).ravel(), len(pair.probes)),
    )
