"""From measurements to a reading: the ordered rules, version 1.

1. Without controls there is no verdict: raw similarity has no evidential value.
2. With fewer than `FEWEST_FAMILIES` control families: inconclusive, with the rank.
3. Otherwise still inconclusive: these rules have no statistic that is calibrated to tell
   imitation or replication from independence; the rank among the controls is reported.

A reading other than `inconclusive` needs calibrated statistics, which this version does not hold.
"""

from collections.abc import Sequence

from auditor.judge.null import Standing
from auditor.types import Conclusion

RULES = "reading/1"
FEWEST_FAMILIES = 6

_ALWAYS = (
    "Similar outputs can have innocent causes: shared public data, a shared base model, "
    "a shared teacher, the same tokenizer or style norms.",
    "Similarity has no direction: these findings cannot tell who learned from whom.",
)
_ADD = (
    "Add control models that are known to be independent of the reference, of similar size, "
    "data and date (--control SPEC): at least "
    f"{FEWEST_FAMILIES} families, a student of another teacher among them."
)


def conclude(standings: Sequence[Standing]) -> Conclusion:
    """Return the reading for one suspect, from its standing on each defined measure."""
    families = max((s.families for s in standings), default=0)
    if families == 0:
        return Conclusion(
            reading="inconclusive",
            basis="uncontrolled similarity",
            cap="no verdict without controls",
            limits=("Without controls there is no verdict. " + _ADD, *_ALWAYS),
        )
    ranks = [s.rank_p for s in standings if s.rank_p is not None]
    closest = sum(rank <= 1.0 / (families + 1) + 1e-12 for rank in ranks)
    noun = "family" if families == 1 else "families"
    everyone = "the one control family" if families == 1 else f"all {families} control families"
    limits = [
        f"With {families} control {noun} no rank p-value can be below 1/{families + 1}.",
        "The measures share probes, so their ranks are not independent of each other.",
        "These measures are screening: none of them is calibrated to tell imitation or "
        "replication from independence.",
    ]
    if families < FEWEST_FAMILIES:
        limits.append(_ADD)
    return Conclusion(
        reading="inconclusive",
        basis=f"screening: closer to the reference than {everyone} "
        f"on {closest} of {len(ranks)} measures",
        cap=f"rank among {families} control {noun}",
        limits=(*limits, *_ALWAYS),
    )
