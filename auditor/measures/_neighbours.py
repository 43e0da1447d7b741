"""Shared nearest neighbours of the probes in two representations."""

from auditor.errors import UndefinedError
from auditor.measures._rows import Rows
from auditor.types import Array

K = 10


def shared_neighbours(x: Rows, y: Rows) -> Array:
    """Return (P,): share of each probe's K nearest probes in x (P, Dx) that are so in y (P, Dy).

    Raises:
        UndefinedError: P <= 2 K, where chance alone gives more than a half.
    """
    from auditor.kernels import mutual_knn

    if len(x) <= 2 * K:
        raise UndefinedError(f"{len(x)} probes; {K} neighbours need more than {2 * K}")
    return mutual_knn(x, y, K)
