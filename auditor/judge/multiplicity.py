"""Several p-values at once: of several suspects or references, or of tests that share probes.

`holm` answers "which of these findings stand"; the two combinations answer "is there anything at
all" for tests of one hypothesis. Tests on the same probes and controls depend on each other, so
neither combination assumes independence (Fisher's does). P-values enter at no less than 1e-300:
a smaller one is an underflow, not a finding.
"""

import math
from collections.abc import Sequence

from auditor.errors import UndefinedError

SMALLEST = 1e-300
LARGEST = 0.99


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Return the adjusted p-values of Holm 1979, in the order given; None stays None.

    ``max over j <= i of (m - j + 1) p_(j)``, at most 1, m counting the tests that were made. Valid
    under any dependence: rejecting where the result is <= alpha makes one or more false rejections
    with a chance of at most alpha.

    Raises:
        UndefinedError: a p-value is outside [0, 1].
    """
    made = [index for index, value in enumerate(p) if value is not None]
    values = _checked([value for value in p if value is not None])
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for step, position in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - step) * values[position]))
        adjusted[made[position]] = largest
    return adjusted


def cauchy_p(p: Sequence[float | None]) -> float:
    """Return the Cauchy combination of the defined p-values (Liu & Xie 2020, equation 2).

    ``P(C > mean of cot(pi p_i))`` for a standard Cauchy C. Approximate for arbitrary dependence and
    accurate for small results, which is where it is used; see `harmonic_p` for a bound. A p-value
    of 1 would outweigh any finding (its cotangent is minus infinity), so values enter at no more
    than `LARGEST`.

    Raises:
        UndefinedError: none is defined, or one is outside [0, 1].
    """
    values = _defined(p)
    angles = [math.pi * min(max(value, SMALLEST), LARGEST) for value in values]
    mean = math.fsum(1.0 / math.tan(angle) for angle in angles) / len(values)
    # atan2(1, x) is the angle of the cotangent x in (0, pi), accurate in both tails.
    return math.atan2(1.0, mean) / math.pi


def harmonic_p(p: Sequence[float | None]) -> float:
    """Return a combined p-value that holds under any dependence of the defined p-values.

    Their harmonic mean times e ln n, at most 1; times 2 for n = 2, times 1 for n = 1 (Vovk & Wang
    2020, "Combining p-values via averaging"). The harmonic mean alone is too small (by about ln n).

    Raises:
        UndefinedError: none is defined, or one is outside [0, 1].
    """
    values = _defined(p)
    count = len(values)
    mean = count / math.fsum(1.0 / max(value, SMALLEST) for value in values)
    factor = {1: 1.0, 2: 2.0}.get(count, math.e * math.log(count))
    return min(1.0, factor * mean)


def _defined(p: Sequence[float | None]) -> list[float]:
    values = _checked([value for value in p if value is not None])
    if not values:
        raise UndefinedError("no p-value to combine")
    return values


def _checked(p: list[float]) -> list[float]:
    for value in p:
        if not 0.0 <= value <= 1.0:
            raise UndefinedError(f"{value} is no p-value: it is outside [0, 1]")
    return p
