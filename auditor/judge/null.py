"""Where a suspect lies among control models. The unit is the model family, never the token.

Several controls of one family count once, by their closest member: pairs and checkpoints of one
training run are not independent cases.

Two p-values. The rank p assumes only that suspect and controls are exchangeable under the null, and
cannot go below 1/(K + 1). The predictive p can, at the price of a normal distribution of the
controls; Student's t with K - 1 degrees of freedom pays for the mean and the spread being estimated
from K families, and its tail falls with a power of the distance, never exponentially.

Measured over 200,000 draws for each of 6 to 50 families, the predictive p falls below 1 % in 1.0 %
of normal nulls, in 1.5 to 1.7 % of Student t with 5 degrees of freedom, at most 2.2 % with 3, and
3.6 % of a null skewed towards the reference (gamma, shape 2). Skew is what it does not pay for:
transform such a statistic, or read the rank beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from auditor.errors import UndefinedError

Closer = Literal["higher", "lower"]

FEWEST = 3
"""Families that z and the predictive p need: with two, the spread has one degree of freedom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A suspect's place among K control families on one measure."""

    families: int
    rank_p: float | None
    """``(1 + #{control at least as close}) / (K + 1)``, in [1/(K+1), 1]; None without controls."""
    z: float | None
    """Distance from the control mean in control standard deviations, positive when closer;
    None with fewer than 3 families or equal controls."""
    predictive_p: float | None = None
    """One-sided, of `predictive_p`; None where z is None."""
    no_spread: str | None = None
    """Why z and the predictive p are None, where they are."""

    @property
    def floor(self) -> float:
        """The smallest `rank_p` that this number of families allows."""
        return 1.0 / (self.families + 1)


def family_values(
    values: Sequence[float | None], families: Sequence[str], closer: Closer
) -> list[float]:
    """Return one value a family: that of its member closest to the reference."""
    best: dict[str, float] = {}
    pick = max if closer == "higher" else min
    for value, family in zip(values, families, strict=True):
        if value is not None:
            best[family] = value if family not in best else pick(best[family], value)
    return [best[family] for family in sorted(best)]


def standing(value: float, controls: Sequence[float], closer: Closer) -> Standing:
    """Return the place of `value` among one value per control family.

    Raises:
        UndefinedError: a value is not finite.
    """
    count = len(controls)
    _check_finite([value, *controls])
    if not count:
        return Standing(families=0, rank_p=None, z=None, no_spread=why_no_spread(controls))
    sign = 1.0 if closer == "higher" else -1.0
    at_least_as_close = sum(sign * control >= sign * value for control in controls)
    return Standing(
        families=count,
        rank_p=(1 + at_least_as_close) / (count + 1),
        z=_z(value, controls, closer),
        predictive_p=predictive_p(value, controls, closer),
        no_spread=why_no_spread(controls),
    )


def predictive_p(value: float, controls: Sequence[float], closer: Closer) -> float | None:
    """Return the chance that one more control family is at least as close as `value`.

    ``P(T >= (value - mean) / (sd sqrt(1 + 1/K)))`` with Student's T of K - 1 degrees of freedom and
    the sign turned where lower is closer: exact for normal controls (the prediction interval of
    Hahn & Meeker 1991, "Statistical Intervals", chapter 4, one-sided). None where
    `why_no_spread` gives a reason.

    Raises:
        UndefinedError: a value is not finite.
    """
    from scipy.special import stdtr

    _check_finite([value, *controls])
    distance = _z(value, controls, closer)
    if distance is None:
        return None
    count = len(controls)
    return float(stdtr(count - 1, -distance / math.sqrt(1.0 + 1.0 / count)))


def why_no_spread(controls: Sequence[float]) -> str | None:
    """Return why the controls give no z and no predictive p; None where they do."""
    count = len(controls)
    if count < FEWEST:
        noun = "family" if count == 1 else "families"
        return f"{count} control {noun}: their spread needs at least {FEWEST}"
    if not _spread(controls) > 0:
        return f"all {count} control families have the same value"
    return None


def _z(value: float, controls: Sequence[float], closer: Closer) -> float | None:
    if why_no_spread(controls) is not None:
        return None
    distance = (value - math.fsum(controls) / len(controls)) / _spread(controls)
    return distance if closer == "higher" else -distance


def _spread(controls: Sequence[float]) -> float:
    """Return the standard deviation, 0 where all values are equal (rounding apart)."""
    if max(controls) == min(controls):
        return 0.0
    mean = math.fsum(controls) / len(controls)
    return math.sqrt(math.fsum((control - mean) ** 2 for control in controls) / (len(controls) - 1))


def _check_finite(values: Sequence[float]) -> None:
    for value in values:
        if not math.isfinite(value):
            raise UndefinedError(
                f"{value} has no place among controls", hint="leave it out and give its reason"
            )
