"""Exact p-values of ranks: one marked value among equally likely ones, alone and combined.

Under the null the marked value of a set is exchangeable with its siblings, so that its rank is
uniform on 1, ..., m + 1, and ranks of sets drawn independently are independent. Nothing is assumed
of the values themselves. The canary test of Wei et al. 2024 (arXiv 2402.10892) is this on the
losses of a model.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from math import prod

import numpy as np

from auditor.errors import InputError, UndefinedError
from auditor.types import Array

SMALLEST_P = 1e-300


def marked_rank(marked: float, siblings: Array) -> int:
    """Return 1 + #{sibling <= marked}, in 1, ..., m + 1; small where the marked value is small.

    Ties count against the mark: with them P(rank <= r) is at most r / (m + 1), never more.

    Args:
        marked: the value under test, such as the loss on an inserted sequence.
        siblings: (m,) values that it is exchangeable with under the null.

    Raises:
        InputError: no sibling, or another shape.
        UndefinedError: a value is not finite: a rank among the rest would be another test.
    """
    values = np.asarray(siblings, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise InputError(f"siblings are (m,) values, at least one; found shape {values.shape}")
    if not (np.isfinite(marked) and np.isfinite(values).all()):
        raise UndefinedError("a sequence of the set has no finite value")
    return 1 + int((values <= marked).sum())


def rank_p(rank: int, size: int) -> float:
    """Return rank / size, P(R <= rank) of a uniform rank R on 1, ..., size = m + 1."""
    return rank_sum_p([rank], [size])


def rank_sum_p(ranks: Sequence[int], sizes: Sequence[int]) -> float:
    """Return P(sum of uniform ranks <= sum of `ranks`), exact but for the last rounding.

    Ways to reach a sum are counted in whole numbers, set by set: those of n sets are a window of
    `size` neighbouring counts of n - 1 sets. 1e-300 stands for anything smaller. No set may be left
    out after its rank is known.

    Args:
        ranks: (n,) each in 1, ..., size.
        sizes: (n,) m + 1 of each set; they may differ.

    Raises:
        InputError: no set, different lengths, or a rank outside its range.
    """
    if len(ranks) != len(sizes) or not ranks:
        raise InputError(f"{len(ranks)} ranks of {len(sizes)} sets: give one rank a set")
    for rank, size in zip(ranks, sizes, strict=True):
        if not 1 <= rank <= size:
            raise InputError(f"there is no rank {rank} among {size} sequences")
    most = sum(ranks) - len(ranks)  # ranks from 0 on
    ways = [1] + [0] * most
    for size in sizes:
        sums = list(accumulate(ways))
        ways = [total - (sums[i - size] if i >= size else 0) for i, total in enumerate(sums)]
    return max(float(Fraction(sum(ways), prod(sizes))), SMALLEST_P)


def smallest_p(sizes: Sequence[int]) -> float:
    """Return the least p-value that sets of these sizes can give: 1 / product of m + 1."""
    return max(float(Fraction(1, prod(sizes))), SMALLEST_P)
