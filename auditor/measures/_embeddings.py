"""Embeddings of a pair's replies, in float64, a block of probes at a time."""

import numpy as np

from auditor.measures._rows import Computed, widened
from auditor.outputs import Pair
from auditor.types import Array


def unit_replies(pair: Pair) -> tuple[Computed, Computed]:
    """Return the reply embeddings of reference and suspect, (P, N, E) each, of unit length.

    N may differ. Stored float32 rows have unit length to 1e-7 only, so it is restored.

    Raises:
        UndefinedError: the embeddings are missing.
    """
    pair.require("embeddings")
    ours, theirs = (widened(np.asarray(s.embeddings)) for s in (pair.reference, pair.suspect))
    return Computed(ours, _unit, ours.shape), Computed(theirs, _unit, theirs.shape)


def _unit(rows: Array) -> Array:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    # A zero row has no direction; it stays zero, at distance 1 from every unit vector.
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def probe_vectors(pair: Pair) -> tuple[Computed, Computed]:
    """Return one vector a probe, (P, E) each: the mean over the replies of each subject."""
    ours, theirs = unit_replies(pair)
    return _means(ours), _means(theirs)


def _means(replies: Computed) -> Computed:
    count, _, width = replies.shape
    return Computed(replies, lambda block: block.mean(axis=1), (count, width))
