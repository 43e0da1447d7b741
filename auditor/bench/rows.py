"""What was found out about one candidate."""

from dataclasses import dataclass, field
from typing import Literal

Status = Literal["ok", "not installed", "unavailable", "left out", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Wall-clock seconds of a run."""

    median: float
    quartile1: float
    quartile3: float
    runs: int


@dataclass(slots=True, kw_only=True)
class Row:
    """One line of the table; filled as the measurement goes on."""

    name: str
    computes: str
    status: Status = "ok"
    reason: str | None = None
    """Why it did not run."""
    package: str | None = None
    """Distribution and version, e.g. "torch 2.13.0"."""
    timing: Timing | None = None
    ratio: float | None = None
    """Its time over that of the first of our rows: above 1, ours is faster."""
    extra_bytes: int | None = None
    """Peak memory beyond the inputs, results included."""
    memory_reason: str | None = None
    """Why the memory is unknown."""
    errors: dict[str, float] = field(default_factory=dict)
    """Largest relative error of each real output against float64; absolute where that is all 0."""
    mismatches: dict[str, int] = field(default_factory=dict)
    """Number of positions at which an integer output differs from float64's."""
    negative: int = 0
    """Number of divergences below 0, over all positions."""

    @property
    def worst(self) -> tuple[str, float] | None:
        """The output with the largest error."""
        return max(self.errors.items(), key=lambda item: item[1], default=None)
