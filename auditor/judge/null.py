"""Where a suspect lies among control models. The unit is the model family, never the token.

Several controls of one family count once, by their closest member: pairs and checkpoints of one
training run are not independent cases.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Closer = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A suspect's place among K control families on one measure."""

    families: int
    rank_p: float | None
    """``(1 + #{control at least as close}) / (K + 1)``, in [1/(K+1), 1]; None without controls."""
    z: float | None
    """Distance from the control mean in control standard deviations, positive when closer;
    None with fewer than 3 families or equal controls."""

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
    """Return the place of `value` among one value per control family."""
    count = len(controls)
    if not count:
        return Standing(families=0, rank_p=None, z=None)
    sign = 1.0 if closer == "higher" else -1.0
    at_least_as_close = sum(sign * control >= sign * value for control in controls)
    return Standing(
        families=count,
        rank_p=(1 + at_least_as_close) / (count + 1),
        z=_z(sign * value, [sign * control for control in controls]),
    )


def _z(value: float, controls: Sequence[float]) -> float | None:
    # With two controls the standard deviation has one degree of freedom and z means nothing.
    if len(controls) < 3:
        return None
    mean = math.fsum(controls) / len(controls)
    variance = math.fsum((control - mean) ** 2 for control in controls) / (len(controls) - 1)
    return (value - mean) / math.sqrt(variance) if variance > 0 else None
