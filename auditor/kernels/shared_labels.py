"""How often two lists of labels agree place by place when one of them is shuffled: exact.

The shuffles in which exactly k places agree are counted in whole numbers, by rook polynomials
(Kaplansky & Riordan 1946; Stanley, Enumerative Combinatorics I, section 2.3).
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction
from math import comb, factorial

from auditor.errors import InputError


def agreeing_shuffles(
    fixed: Sequence[Hashable | None], shuffled: Sequence[Hashable | None]
) -> list[int]:
    """Return (k_max + 1,) the number of the n! shuffles in which k places agree.

    A label that stands a times in one list and b times in the other is a board of a x b places
    for rooks that do not attack each other: C(a, j) C(b, j) j! ways for j of them. Boards of
    different labels share no row and no column, so their polynomials multiply. With r_j ways in
    all, sum_j r_j (n - j)! (t - 1)^j has the counts as coefficients of t^k.

    Args:
        fixed: (n,) labels; None agrees with nothing.
        shuffled: (n,) labels of the list that is shuffled; None as before.

    Raises:
        InputError: the lists have different lengths.
    """
    if len(fixed) != len(shuffled):
        raise InputError(f"{len(fixed)} labels cannot be compared with {len(shuffled)}")
    here, there = (
        Counter(label for label in one if label is not None) for one in (fixed, shuffled)
    )
    rooks = [1]
    for label in sorted(set(here) & set(there), key=repr):
        a, b = here[label], there[label]
        board = [comb(a, j) * comb(b, j) * factorial(j) for j in range(min(a, b) + 1)]
        rooks = product(rooks, board)
    counts = [0]
    for j in reversed(range(len(rooks))):  # Horner's scheme in (t - 1)
        counts = product(counts, [-1, 1])
        counts[0] += rooks[j] * factorial(len(fixed) - j)
    return _trimmed(counts)


def product(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """Return the coefficients of the product of two polynomials, lowest power first."""
    found = [0] * (len(one) + len(other) - 1)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            found[i + j] += a * b
    return found


def upper_share(counts: Sequence[int], least: int) -> float:
    """Return the share of shuffles in which at least `least` places agree, exact but for rounding.

    The p-value of a permutation test; with the counts of several strata multiplied (`product`),
    that of a stratified one.
    """
    return float(Fraction(sum(counts[least:]), sum(counts)))


def mean_agreement(counts: Sequence[int]) -> float:
    """Return the mean number of places that agree, over all shuffles."""
    return float(Fraction(sum(k * count for k, count in enumerate(counts)), sum(counts)))


def _trimmed(counts: list[int]) -> list[int]:
    """Return the counts without zeros for numbers that no shuffle reaches."""
    while len(counts) > 1 and counts[-1] == 0:
        counts.pop()
    return counts
