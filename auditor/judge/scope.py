"""Where a link shows: in which probe categories and layers, and whether it is broad or targeted.

Each part (a category, a layer) comes with its own p-value, adjusted by Holm over the parts. That a
part does not show is no difference yet: it may have few probes. "Targeted" therefore needs a test
of its own, that the parts differ by more than chance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from auditor.judge.multiplicity import LARGEST, SMALLEST, holm

Extent = Literal["none", "targeted", "broad", "undecided"]

ALPHA = 0.05
BROAD_SHARE = 0.8
"""Share of the tested parts that must show the link for it to be called broad."""
TARGETED_SHARE = 0.5
"""Largest share at which it may be called targeted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One category or layer, and how unusual the suspect is there among the controls."""

    name: str
    p: float | None
    """One-sided: a predictive p of `auditor.judge.null`, or an exact p of a layer."""
    reason: str | None = None
    """Why `p` is undefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFinding:
    """A part with its adjusted p-value."""

    name: str
    p: float | None
    adjusted: float | None
    """Holm over the parts with a p-value."""
    shows: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a link shows."""

    parts: tuple[PartFinding, ...]
    """In the order given."""
    extent: Extent
    heterogeneity_p: float | None
    """That all parts show the link alike; None with fewer than two parts."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the parts where the link shows."""
        return tuple(part.name for part in self.parts if part.shows)

    @property
    def tested(self) -> int:
        """Number of parts with a p-value."""
        return sum(part.p is not None for part in self.parts)

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        count = len(self.shown)
        where = f"The link shows in {count} of {self.tested} parts"
        if not count:
            return f"The link shows in none of {self.tested} parts taken singly."
        listed = ", ".join(self.shown)
        return {
            "broad": f"{where}: broad.",
            "targeted": f"{where} and not alike in all: targeted at {listed}.",
        }.get(self.extent, f"{where} ({listed}); whether the others lack it cannot be told.")


def scope(parts: Sequence[Part], alpha: float = ALPHA) -> Scope:
    """Return where the link shows and how far it extends.

    ``broad``: in at least `BROAD_SHARE` of the parts tested. ``targeted``: in at most
    `TARGETED_SHARE`, and the parts differ (`heterogeneity_p` < alpha). ``none``: nowhere.
    ``undecided``: anything else, and with fewer than two parts.

    Raises:
        UndefinedError: a p-value is outside [0, 1].
    """
    adjusted = holm([part.p for part in parts])
    findings = tuple(
        PartFinding(
            name=part.name,
            p=part.p,
            adjusted=value,
            shows=value is not None and value < alpha,
            reason=part.reason,
        )
        for part, value in zip(parts, adjusted, strict=True)
    )
    differ = heterogeneity_p([part.p for part in parts if part.p is not None])
    return Scope(parts=findings, extent=_extent(findings, differ, alpha), heterogeneity_p=differ)


def heterogeneity_p(p: Sequence[float]) -> float | None:
    """Return the p-value that the parts show one and the same z; None with fewer than two.

    Cochran 1954: ``Q = sum (z_i - mean z)^2`` against chi-square with n - 1 degrees of freedom, z
    the normal quantile of each p-value. Parts share controls, so their errors correlate, usually
    positively: then Q is too small, and the test is cautious. Predictive p-values of few families
    never get extreme (heavy tails), so that a strong link's z are drawn together; cautious again.
    """
    from scipy.special import chdtrc, ndtri

    if len(p) < 2:
        return None
    z = [float(-ndtri(min(max(value, SMALLEST), LARGEST))) for value in p]
    mean = math.fsum(z) / len(z)
    return float(chdtrc(len(z) - 1, math.fsum((value - mean) ** 2 for value in z)))


def _extent(findings: Sequence[PartFinding], differ: float | None, alpha: float) -> Extent:
    tested = sum(part.p is not None for part in findings)
    shown = sum(part.shows for part in findings)
    if not shown:
        return "none"
    if differ is None:
        return "undecided"
    if shown >= BROAD_SHARE * tested:
        return "broad"
    return "targeted" if shown <= TARGETED_SHARE * tested and differ < alpha else "undecided"


def runs(names: Sequence[str], shown: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the contiguous runs of parts that show, as (first, last): copied blocks of layers.

    Args:
        names: all parts in their order, layers from the input upwards.
        shown: those where the link shows.
    """
    chosen = set(shown)
    found: list[tuple[str, str]] = []
    before: str | None = None
    for name in names:
        if name in chosen:
            first = found.pop()[0] if found and found[-1][1] == before else name
            found.append((first, name))
        before = name
    return tuple(found)
