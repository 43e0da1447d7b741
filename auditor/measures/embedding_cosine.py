"""Cosine of the sentence embeddings of two subjects' replies to the same probe."""

import numpy as np

from auditor.measures._embeddings import unit_replies
from auditor.measures._registry import measure
from auditor.measures._rows import blocks
from auditor.outputs import Pair
from auditor.types import Array


@measure(
    "embedding-cosine",
    version=1,
    group="representation",
    unit="cosine",
    bounds=(-1.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=True,
    needs=("embeddings",),
)
def embedding_cosine(pair: Pair) -> Array:
    """Cosine of the embeddings of matching replies, mean over repeats: do they say the same thing.

    Formula: 1 - |x - y|^2 / 2 for unit vectors x and y, which is their inner product and is exactly
    1 for equal ones. Reply r of one is compared with reply r of the other; extra repeats of either
    are not used.

    Range: [-1, 1]; in practice above 0.
    Degenerate: none; a probe with a missing embedding (NaN or zeros) does not count.

    Pitfalls: two correct replies to one question mean the same, so unrelated models score high; the
    level depends on the encoder, and values of different encoders do not compare. Mean embedding
    cosine is no evidence of a link: it is shown for context and read against controls only.
    """
    ours, theirs = unit_replies(pair)
    repeats = min(ours.shape[1], theirs.shape[1])
    found = np.empty(len(ours))
    for block in blocks(ours):
        x, y = ours[block][:, :repeats], theirs[block][:, :repeats]
        distance2 = np.square(x - y).sum(axis=2)  # (b, N, E) -> (b, N)
        found[block] = np.clip(1.0 - distance2 / 2.0, -1.0, 1.0).mean(axis=1)
    return found
