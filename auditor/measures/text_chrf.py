"""Character n-gram F-score of the suspect's replies against the reference's."""

import math

from auditor.measures._registry import measure
from auditor.measures._replies import reply_means
from auditor.outputs import Pair
from auditor.types import Array, Probe


@measure(
    "text-chrf",
    version=1,
    group="text",
    unit="score",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=False,
    needs=("texts",),
    library="sacrebleu",
)
def text_chrf(pair: Pair) -> Array:
    """chrF2 of each suspect reply against the reference's, on [0, 1], mean over repeats.

    Formula: F with beta = 2 of the mean precision and mean recall of character 1- to 6-grams,
    spaces ignored, case kept. Popovic 2015, as sacrebleu's sentence score divided by 100. Reply r
    of one is compared with reply r of the other; extra repeats of either are not used.

    Range: [0, 1]. Recall (of the reference's text) weighs four times, so it is not symmetric.
    Degenerate: one reply empty gives 0; both empty says nothing and is left out.

    Pitfalls: any two replies in one language share characters, so unrelated models score well
    above 0, more so on long replies and courtesy formulas. Local models that draw with one seed
    pick similar words where their distributions are similar, servers do not: compare like with
    like. No evidence of a link by itself: it is read against controls only.
    """
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF()

    def score(probe: Probe, ours: str, theirs: str) -> float:
        if not ours.strip() and not theirs.strip():
            return math.nan
        return min(chrf.sentence_score(theirs, [ours]).score / 100.0, 1.0)

    return reply_means(pair, score)
