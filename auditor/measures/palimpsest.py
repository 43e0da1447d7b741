"""Does the suspect remember late texts of the reference's training better than early ones?"""

import math
from collections.abc import Sequence

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.panel import Control
from auditor.types import Access, Array

FEWEST_TEXTS = 64
_SMALLEST_P = 1e-300


@measure(
    "palimpsest",
    version=1,
    group="idiosyncrasy",
    unit="log10 p",
    bounds=(-300.0, 0.0),
    identical=None,
    closer="lower",
    symmetric=False,
    needs=("transcripts",),
    reduce="pooled",
    access=Access.LOGITS,
    library="scipy",
    resampled=False,
    # A p of some 1e-300, from another implementation of Student's t.
    tolerance=(1e-9, 1e-9),
)
def palimpsest(pair: Pair) -> float:
    """Base-10 logarithm of the p-value that the suspect's losses ignore the reference's data order.

    Formula: rho is the Spearman correlation between the place of a text in the reference's
    committed training order (where it was last seen) and the suspect's loss on it in nats a byte,
    less what the controls of the pool explain of it: the residual of a least-squares fit on a
    constant and the mean loss of the control families (without controls, the loss itself). p is
    one-sided, for lower loss on later texts: t = rho sqrt((n - 2) / (1 - rho^2)) with n - 2
    degrees of freedom. Palimpsestic membership inference (Kuditipudi et al. 2025, arXiv
    2510.19796). The reference's own loss is never taken out: it follows the order itself, and
    would take out what a copy inherits.

    Null: the suspect, the controls and the choice of texts know nothing of the order, which was
    shuffled at random. Then every order is as likely, whatever the texts and the models: exact, but
    for t in place of the exact distribution (with 64 texts, true rates of 5.0 %, 1.02 % and 0.11 %
    for 5 %, 1 % and 0.1 %; closer with more).
    Assumed: the seed and the order were committed to before the dispute.

    Range: [-300, 0]. Not symmetric: the order is the reference's.
    Degenerate: undefined with fewer than 64 texts that both could score, and where all residuals
    are equal.

    Pitfalls: a run of the same recipe, data and seed sees the same order and scores as a descendant
    does, and so does a control of that kind, which also takes the signal out of the suspect: give
    each run another seed. It fades with further training, and with a learning rate that decays to
    0 before the end. Distillation passes little of it on. p = 0.3 is no sign of independence; the
    reference against itself shows whether its order left a trace at all. Values of several suspects
    are correlated: the same texts and controls enter all.
    """
    order, losses, usual = _losses(pair)
    residual = _residual(losses, usual)
    spread = float(np.ptp(residual))
    if spread <= 1e-9 * float(np.ptp(losses)) or spread == 0.0:
        raise UndefinedError("the controls, or equal losses, leave nothing to correlate")
    from scipy.stats import spearmanr

    p = float(spearmanr(order, residual, alternative="less").pvalue)
    return math.log10(min(max(p, _SMALLEST_P), 1.0))


def _losses(pair: Pair) -> tuple[Array, Array, Array]:
    """Return, (n,) each, the places in the order, the suspect's losses, and the controls' mean.

    Raises:
        UndefinedError: texts are missing, too few, or not the same ones.
    """
    pair.require("transcripts")
    if pair.transcripts is None:
        raise UndefinedError("no transcripts were collected for both subjects")
    ours, theirs = pair.transcripts
    if not np.array_equal(ours["text"], theirs["text"]):
        raise UndefinedError("the subjects scored different texts of the committed order")
    families = _families(pair.pool, ours["text"])
    known = [theirs, *(rows for family in families for rows in family)]
    usable = np.all([(rows["bytes"] > 0) & np.isfinite(rows["logprob"]) for rows in known], axis=0)
    if usable.sum() < FEWEST_TEXTS:
        raise UndefinedError(
            f"{int(usable.sum())} texts of the committed order could be scored; the test needs at "
            f"least {FEWEST_TEXTS}"
        )
    means = [np.mean([_loss(rows, usable) for rows in family], axis=0) for family in families]
    # Without controls a constant column, which takes out nothing.
    usual = np.mean(means, axis=0) if means else np.zeros(int(usable.sum()))
    return ours["text"][usable], _loss(theirs, usable), usual


def _families(pool: Sequence[Control], texts: Array) -> list[list[Array]]:
    """Return the transcripts of each family's models that scored these texts."""
    grouped: dict[str, list[Array]] = {}
    for control in pool:
        rows = control.transcript
        if rows is not None and np.array_equal(rows["text"], texts):
            grouped.setdefault(control.family, []).append(rows)
    return list(grouped.values())


def _loss(rows: Array, usable: Array) -> Array:
    return -rows["logprob"][usable] / rows["bytes"][usable]


def _residual(losses: Array, usual: Array) -> Array:
    """Return (n,): the losses less their least-squares fit on a constant and `usual`."""
    centred = usual - usual.mean()
    variance = float(centred @ centred)
    slope = float(centred @ losses) / variance if variance > 0.0 else 0.0
    return losses - slope * centred
