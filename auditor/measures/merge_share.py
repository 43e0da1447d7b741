"""Share of the reference in a suspect that is a merge of candidate parents."""

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._mixture import solve_mixture, standard_error
from auditor.measures._registry import measure
from auditor.measures._resample import FEWEST
from auditor.outputs import Pair
from auditor.types import Access

_LEVEL = 0.975
_ROUNDING = 1e-6
"""Of the merge's own factors, which are float32 numbers: no resampling sees it."""


def block_interval(pair: Pair, seed: int, resamples: int) -> tuple[float, float] | None:
    """Return the 95 % interval of the share over blocks of weights; None without resamples.

    The value and Student's t times its standard error, on either side.
    """
    from scipy.stats import t

    if pair.merge is None or resamples < FEWEST:
        return None
    value = float(solve_mixture(pair.merge, pair.parents).mean[0])
    error, freedom = standard_error(pair.merge, pair.parents, seed, resamples)
    reach = float(t.ppf(_LEVEL, freedom)) * error + _ROUNDING
    return value - reach, value + reach


@measure(
    "merge-share",
    version=1,
    group="weights",
    unit="share",
    bounds=(-np.inf, np.inf),
    identical=1.0,
    closer="higher",
    symmetric=False,
    needs=("merge",),
    reduce="pooled",
    access=Access.WEIGHTS,
    resampled=False,
    interval=block_interval,
    # Normal equations of a condition up to 1e10.
    tolerance=(1e-7, 1e-9),
)
def merge_share(pair: Pair) -> float:
    """Share of the reference in the mixture of candidate parents that is the suspect's weights.

    Formula: after the parents' neurons, heads and residual dimensions were put in the suspect's
    order, the suspect's matrices are fitted by m = s (w_r r + sum of w_k p_k), the shares w summing
    to 1, by least squares in every layer and tensor group; the value is the mean of w_r, weighted
    by elements. Candidates: the reference, a declared base, the best fitting of the case's controls
    of the same shapes, but none of role replication. The factor s is free: a spherical merge
    (Shoemake 1985) of unlike parents is longer than their mean, and its linear weights are
    sin((1-t) W)/sin W and sin(t W)/sin W over their sum, W the angle of the parents.
    Interval: 95 %, from a bootstrap over blocks of rows within each layer and group.

    Range: usually [0, 1], not limited to it; 1 for a copy, near 1 for a fine-tune. With the
    base among the candidates a share is the factor of a parent's task vector (parent minus base),
    and the base's is 1 minus their sum: below 0 after TIES (Yadav et al. 2023), whose mean over
    agreeing parents is longer than a linear one.
    Degenerate: undefined with no second candidate, where none fits better than noise, where two
    cannot be told apart, and where the mixture explains the suspect to a cosine below 0.95, or to
    one below 0.999 with an s more than 0.05 off 1: a parent is missing then, or the suspect was
    trained much further.

    Pitfalls: a missing parent that shares a base with a candidate passes for it in part, and no
    residual tells, because the base is most of the weights: name the base. Drops of DARE (Yu et al.
    2024) leave a large residual that is noise; the interval holds it. Merges computed in bfloat16
    round their own factors, up to 0.4 %. A candidate with less than about a fifth of the weights
    whose units were in another order than the other parents' is not found. Says what weights
    are made of, not who made them: both parents of a merge have a share.
    """
    pair.require("merge")
    if pair.merge is None or not len(pair.merge):
        raise UndefinedError("no block of weights was stored")
    return float(solve_mixture(pair.merge, pair.parents).mean[0])
