"""Which row of one table goes with which row of another: optimal assignment of cosines."""

from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Partners:
    """One-to-one pairs of rows, in the order of `theirs`."""

    ours: Array
    """(n,) row of the first table."""
    theirs: Array
    """(n,) row of the second table, ascending."""
    cosine: Array
    """(n,) float64, with its sign."""


def partners(ours: Array, theirs: Array, *, seed: int, signed: bool = True) -> Partners:
    """Return the one-to-one pairs of rows whose cosines have the largest sum.

    Both tables are shuffled first: rows without direction (silent neurons) have equal cosines with
    all, and the assignment would pair them in their order, which is what the tests look for.

    Args:
        ours: (m, F) rows; those of zeros have cosine 0 with every row.
        theirs: (m', F) rows. All rows of the shorter table get a partner.
        seed: of the shuffling.
        signed: False where a row and its negative mean the same: |cosine| counts.

    Raises:
        UndefinedError: a value is not finite.
    """
    from scipy.optimize import linear_sum_assignment

    random = np.random.RandomState(seed)
    rows, columns = random.permutation(len(theirs)), random.permutation(len(ours))
    cosines = _unit(theirs)[rows] @ _unit(ours)[columns].T  # (m', m)
    found = linear_sum_assignment(cosines if signed else np.abs(cosines), maximize=True)
    order = np.argsort(rows[found[0]])
    return Partners(
        ours=columns[found[1]][order], theirs=rows[found[0]][order], cosine=cosines[found][order]
    )


def without_common(ours: Array, theirs: Array, count: int) -> tuple[Array, Array]:
    """Return both tables without the `count` leading principal directions of the two together.

    What two independent models learn alike lies in these; a copy shares the rest as well.

    Args:
        ours: (m, F) rows.
        theirs: (m', F) rows.
        count: at most a quarter of F is taken.
    """
    both = np.concatenate([_unit(ours), _unit(theirs)])
    count = min(count, both.shape[1] // 4)
    _, vectors = np.linalg.eigh(both.T @ both)
    common = vectors[:, both.shape[1] - count :]  # (F, count): eigenvalues ascend
    return ours - (ours @ common) @ common.T, theirs - (theirs @ common) @ common.T


def _unit(rows: Array) -> Array:
    table = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(table).all():
        raise UndefinedError("a value is NaN or infinite")
    length = np.linalg.norm(table, axis=1, keepdims=True)
    return table / np.where(length > 0.0, length, 1.0)
