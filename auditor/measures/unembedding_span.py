"""Overlap of the spaces in which two models' logits lie."""

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access


@measure(
    "unembedding-span",
    version=1,
    group="weights",
    unit="share",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=True,
    needs=("span",),
    reduce="pooled",
    access=Access.LOGITS,
    resampled=False,
)
def unembedding_span(pair: Pair) -> float:
    """Share of one model's space of possible logits that lies in the other's.

    Formula: mean of cos^2 over the principal angles of the column spaces of the unembeddings, each
    minus its column mean over the vocabulary (a constant added to all logits changes no
    probability): ||Q_T' Q_S||_F^2 / min(d_T, d_S). From the weights, or from more than d rows of
    logits by SVD, which gives the same spaces. Yang & Wu 2407.01235 and Finlayson et al. 2403.09539
    show that logits betray this space; the overlap of two models' spaces is used here for lineage.

    Range: [0, 1]; 1 where one space holds the other. Symmetric. Two random spaces overlap by
    max(d_T, d_S) / (V - 1), but trained models by more: words of one kind lie together in every
    model. So it is compared with controls of the suspect's width, never with the random baseline.
    Degenerate: undefined for different vocabularies, and where a space fills all V - 1 dimensions.

    Pitfalls: rises with imitation of *logits*; imitation of text leaves it near the controls. It
    depends on d: a wider suspect has a higher baseline, so its controls must be as wide. Where V is
    not much larger than d the baseline is high and little room is left above it.
    """
    pair.require("span")
    cosines = np.asarray(pair.span, dtype=np.float64)
    if not len(cosines):
        raise UndefinedError("an unembedding has no directions: all tokens are alike")
    return float(np.mean(np.square(cosines)))
