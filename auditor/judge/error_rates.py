"""How often a decisive test errs at the threshold of a case: counts of control families.

The controls are those of the pack whose population holds the case: models of known dose, scored as
the suspect is. They had no part in the threshold, which follows from the level of the rules and the
number of control families of the case.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from auditor.judge.dose import DosedScore
from auditor.judge.rates import rate
from auditor.judge.validity import rate_json


def error_rates(
    graded: Mapping[str, Sequence[DosedScore]], thresholds: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return, for each decisive test with a threshold, its error rates as JSON values.

    ``false_support``: unlinked families (dose 0) with a score above the threshold; null where the
    pack has none. ``missed``: at each graded dose, families with a score not above it. A family
    counts where any of its members errs; intervals are Clopper & Pearson 1934, 95 %.

    Args:
        graded: by decisive test, z of controls of known dose.
        thresholds: by decisive test, z above which imitation is read.
    """
    return [
        {
            "measure": test,
            "threshold": threshold,
            "false_support": _rate(graded[test], 0.0, threshold),
            "missed": [
                {"dose": dose, **(_rate(graded[test], dose, threshold) or {})}
                for dose in sorted({score.dose for score in graded[test]} - {0.0})
            ],
        }
        for test, threshold in sorted(thresholds.items())
        if graded.get(test)
    ]


def _rate(scores: Sequence[DosedScore], dose: float, threshold: float) -> dict[str, Any] | None:
    """Return the share of the families of a dose that err; None where there are none."""
    own = [score for score in scores if score.dose == dose]
    if not own:
        return None
    wrong = {score.family for score in own if (score.score > threshold) != (dose > 0)}
    return rate_json(rate(len(wrong), len({score.family for score in own})))
