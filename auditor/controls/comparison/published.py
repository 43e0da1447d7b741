"""Published similarity statistics that have no package, as comparison only: none is evidence.

Each is the formula of its source, kept with its faults: the comparison shows what they cost. Raw
similarity says how alike two models are, and independent models of one architecture and data are
alike. All in float64; higher means closer.
"""

import numpy as np

from auditor.errors import UndefinedError
from auditor.types import Array

ROLES = ("query", "key", "value", "output")
"""Attention projections of the std profile, in order."""
FEWEST_ANCHORS = 8
_NO_SPREAD = 1e-12


def std_profile(stds_a: Array, stds_b: Array) -> float:
    """Return how alike the spread of attention weights runs over the layers, in [0, 1].

    HonestAGI, "Intrinsic Fingerprint of LLMs" (arXiv 2507.03014), as LeaFBench (arXiv 2508.19843)
    scores it under the name PDF: the Pearson correlation r over layers of the standard deviations
    of W_Q, W_K, W_V and W_O, combined as ``(r_Q + r_K + r_V + r_O + 4) / 8``.

    Known faults: L points a correlation, so two layers always give -1 or 1; depth profiles follow
    from architecture and training length.

    Args:
        stds_a: (4, L), standard deviation of each matrix of one model.
        stds_b: (4, L), of the other.

    Raises:
        UndefinedError: different depths, fewer than 2 layers, or a profile that does not vary.
    """
    a, b = np.asarray(stds_a, dtype=np.float64), np.asarray(stds_b, dtype=np.float64)
    if a.shape != b.shape:
        raise UndefinedError(
            f"the std profile needs equal depths, found {a.shape[1]}, {b.shape[1]}"
        )
    if a.shape[1] < 2:
        raise UndefinedError("the std profile needs at least 2 layers")
    return float(np.mean([(_pearson(x, y) + 1) / 2 for x, y in zip(a, b, strict=True)]))


def biased_cka(x: Array, y: Array) -> float:
    """Return the linear CKA of (N, Dx) and (N, Dy) without correction for its bias, in [0, 1].

    Kornblith et al. 2019, equation 3, as REEF (ICLR 2025, arXiv 2410.14273) uses it:
    ``|Y'X|^2 / (|X'X| |Y'Y|)``, Frobenius norms, columns centred.

    Known fault: the expectation for independent representations is not 0 but grows with D/N
    (0.95 for Gaussians at N = 200, D = 4,096).

    Raises:
        UndefinedError: other numbers of rows, fewer than 2 rows, or a side that does not vary.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(x) != len(y) or len(x) < 2:
        raise UndefinedError(f"CKA needs the same rows, at least 2: found {len(x)} and {len(y)}")
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    cross = float(np.square(y.T @ x).sum())
    own = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    if not own > 0:
        raise UndefinedError("a representation does not vary over the texts: CKA has no value")
    return min(cross / own, 1.0)  # Cauchy-Schwarz; rounding may pass it


def embedding_gram(rows_a: Array, rows_b: Array) -> float:
    """Return how alike the cosines among the embeddings of the same tokens are, in [0, 1].

    The analogue of Cisco's Embedding Anchor Similarity (provenance-kit, weight_signals.py
    `eas_similarity`): r is the Pearson correlation of the upper triangles of the two cosine Gram
    matrices, given as ``(r + 1) / 2``. Invariant to rotations of the embedding; widths may differ.

    Known fault: word statistics shape these cosines in any model of the same data.

    Args:
        rows_a: (K, Da), embeddings of K tokens in one model.
        rows_b: (K, Db), of the same tokens in the other.

    Raises:
        UndefinedError: fewer than 8 tokens, an embedding of length 0, or cosines that do not vary.
    """
    if len(rows_a) != len(rows_b) or len(rows_a) < FEWEST_ANCHORS:
        raise UndefinedError(
            f"the embedding Gram needs {FEWEST_ANCHORS} tokens that both models have, found "
            f"{min(len(rows_a), len(rows_b))}"
        )
    upper = np.triu_indices(len(rows_a), k=1)
    return (_pearson(_cosines(rows_a)[upper], _cosines(rows_b)[upper]) + 1) / 2


def _cosines(rows: Array) -> Array:
    wide = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise UndefinedError("a token's embedding has length 0: its cosines have no value")
    return (wide / lengths) @ (wide / lengths).T


def _pearson(x: Array, y: Array) -> float:
    x, y = x - x.mean(), y - y.mean()
    for side in (x, y):
        if not np.isfinite(side).all():
            raise UndefinedError("a weight is NaN or infinite")
        if not np.linalg.norm(side) > _NO_SPREAD:
            raise UndefinedError("one side does not vary: the correlation has no value")
    return float(np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1.0, 1.0))
