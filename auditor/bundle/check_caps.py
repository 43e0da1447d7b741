"""The part of V13 on likelihood ratios: nothing stated goes beyond what the families support.

These hold for a calibration of any release, known here or not: a bound is compared with the largest
one that its number of families can have, and the number of families is counted again.
"""

import math
from collections.abc import Iterator
from typing import Any

from auditor.judge.bounds import FEWEST_FAMILIES, STEP, Bounds, largest_lr
from auditor.judge.calibration import FEATURE_OF, Calibration
from auditor.judge.fuse import Fusion

_ROUNDING = 1e-9


def calibration_faults(calibration: Calibration) -> Iterator[str]:
    """Yield where a calibration has more families, or higher caps, than its own tables support."""
    for fusion in calibration.fusions:
        yield from _count_faults(calibration, fusion)
        for pair, bounds in fusion.bounds.items():
            first, _, second = pair.partition(":")
            where = f"calibration.json: {pair} of {'+'.join(fusion.recipe.names)}"
            counted = tuple(fusion.families[name] for name in (first, second))  # type: ignore[index]
            if bounds.families != counted:
                yield f"{where} rests on {bounds.families} families, the fusion has {counted}"
            if min(bounds.families) < FEWEST_FAMILIES:
                yield f"{where} has fewer than {FEWEST_FAMILIES} families in a class"
            elif not _supported(bounds):
                yield f"{where} has a cap that {bounds.families} families cannot support"


def _count_faults(calibration: Calibration, fusion: Fusion) -> Iterator[str]:
    """Yield the tests whose table holds fewer unlinked families than the fusion claims."""
    claimed = fusion.families["independent"]
    for test, feature in FEATURE_OF.items():
        rows = calibration.doses.get(test, ())
        if feature not in fusion.recipe.names or not rows:
            continue
        counted = len({row.family for row in rows if row.dose == 0})
        if claimed > counted:
            yield (
                f"calibration.json: {'+'.join(fusion.recipe.names)} claims {claimed} independent "
                f"families, the table of {test} holds {counted}"
            )


def _supported(bounds: Bounds) -> bool:
    first, second = bounds.families
    highest = math.log10(largest_lr(first, second)) + STEP
    lowest = -math.log10(largest_lr(second, first)) - STEP
    return lowest <= bounds.lower <= 0 <= bounds.upper <= highest


def stated(calibration: Calibration, suspect: str, one: dict[str, Any]) -> Iterator[str]:
    """Yield the likelihood ratios of a conclusion that no fusion of the calibration allows."""
    caps: dict[str, list[Bounds]] = {}
    for fusion in calibration.fusions:
        for pair, bounds in fusion.bounds.items():
            caps.setdefault(pair, []).append(bounds)
    ratios = one["log10_lr"] or {}
    for pair, value in ratios.items():
        allowed = caps.get(pair, [])
        low = min((bounds.lower for bounds in allowed), default=0.0)
        high = max((bounds.upper for bounds in allowed), default=0.0)
        if not low - _ROUNDING <= value <= high + _ROUNDING:
            families = max((bounds.families for bounds in allowed), default=(0, 0))
            yield (
                f"{suspect}: log10 LR {value:g} of {pair} is beyond the caps of {families} "
                f"families, {low:g} to {high:g}"
            )
    interval = one["interval"]
    if interval is not None and not any(
        interval[0] - _ROUNDING <= value <= interval[1] + _ROUNDING for value in ratios.values()
    ):
        yield f"{suspect}: no likelihood ratio lies in the stated interval"
