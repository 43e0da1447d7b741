"""Least squares with weights that are at least 0 and sum to 1, for many problems at once."""

import numpy as np

from auditor.types import Array

TOLERANCE = 1e-12
_MOST_STEPS = 20_000


def simplex_weights(gram: Array, target: Array) -> Array:
    """Return (B, K): the w that minimises w' gram w - 2 target' w on the simplex.

    Accelerated projected gradient (Beck & Teboulle 2009, FISTA) with restarts (O'Donoghue &
    Candes 2015, section 3.2) from equal weights. Where several w are equally good, the fitted
    values are the same for all of them.

    Args:
        gram: (B, K, K) symmetric, positive semidefinite.
        target: (B, K).
    """
    count, k = target.shape
    result = np.full((count, k), 1.0 / k)
    # Scaled to a largest eigenvalue of 1, so that a gradient step has length 1.
    largest = np.linalg.eigvalsh(gram)[:, -1] if count else np.zeros(0)
    open_rows = np.flatnonzero(largest > 0)
    gram = gram[open_rows] / largest[open_rows, None, None]
    target = target[open_rows] / largest[open_rows, None]
    weights = ahead = result[open_rows]
    momentum = np.ones((len(open_rows), 1))
    for _ in range(_MOST_STEPS):
        slope = np.einsum("bij,bj->bi", gram, ahead) - target
        moved = simplex_projection(ahead - slope)
        change = moved - weights
        result[open_rows] = moved
        # A restart where the last step went uphill; each problem on its own.
        uphill = ((ahead - moved) * change).sum(axis=1, keepdims=True) > 0
        grown = np.where(uphill, 1.0, (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0)
        ahead_next = moved + np.where(uphill, 0.0, (momentum - 1.0) / grown) * change
        unfinished = np.abs(moved - ahead).max(axis=1) > TOLERANCE
        if not unfinished.any():
            break
        weights, ahead, momentum = moved[unfinished], ahead_next[unfinished], grown[unfinished]
        gram, target, open_rows = gram[unfinished], target[unfinished], open_rows[unfinished]
    return result


def simplex_projection(points: Array) -> Array:
    """Return (B, K): the nearest point of the simplex to each row. Held et al. 1974."""
    ordered = np.sort(points, axis=1)[:, ::-1]
    excess = (np.cumsum(ordered, axis=1) - 1.0) / np.arange(1, points.shape[1] + 1)
    support = (ordered > excess).sum(axis=1)
    return np.maximum(points - excess[np.arange(len(points)), support - 1][:, None], 0.0)
