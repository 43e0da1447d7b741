"""Embeddings of a pair's replies, in float64."""

import numpy as np

from auditor.outputs import Pair
from auditor.types import Array


def unit_replies(pair: Pair) -> tuple[Array, Array]:
    """Return the reply embeddings of reference and suspect, (P, N, E) each, of unit length.

    N may differ. Stored float32 rows have unit length to 1e-7 only, so it is restored.

    Raises:
        UndefinedError: the embeddings are missing.
    """
    pair.require("embeddings")
    ours, theirs = (
        np.asarray(side.embeddings, dtype=np.float64) for side in (pair.reference, pair.suspect)
    )
    return _unit(ours), _unit(theirs)


def _unit(rows: Array) -> Array:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    # A zero row has no direction; it stays zero, at distance 1 from every unit vector.
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def probe_vectors(pair: Pair) -> tuple[Array, Array]:
    """Return one vector a probe, (P, E) each: the mean over the replies of each subject."""
    ours, theirs = unit_replies(pair)
    return ours.mean(axis=1), theirs.mean(axis=1)
