"""How many word sequences two subjects' replies have in common."""

import math
import re
from collections import Counter

from auditor.measures._registry import measure
from auditor.measures._replies import reply_means
from auditor.outputs import Pair
from auditor.types import Array, Probe

N = 3
# Chinese, Japanese and Thai write no spaces: there, each character stands for a word.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


@measure(
    "text-ngram-overlap",
    version=1,
    group="text",
    unit="share",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=True,
    needs=("texts",),
    library="python",
)
def text_ngram_overlap(pair: Pair) -> Array:
    """Dice overlap of word 3-grams of matching replies, mean over repeats.

    Formula: 2 |A & B| / (|A| + |B|) over multisets of 3 consecutive words. Dice 1945. Words are
    runs of letters and digits in lower case; in scripts without spaces each character is one.

    Range: [0, 1]. Symmetric. Reply r of one is compared with reply r of the other; extra repeats
    of either are not used.
    Degenerate: a pair of replies with fewer than 3 words each says nothing and is left out; where
    only one is that short the overlap is 0.

    Pitfalls: text that is quoted from the prompt, boilerplate and fixed phrases overlap between
    unrelated models; paraphrase removes it. No evidence of a link by itself: it is read against
    controls only.
    """
    return reply_means(pair, _dice)


def _dice(probe: Probe, ours: str, theirs: str) -> float:
    a, b = _ngrams(ours), _ngrams(theirs)
    total = a.total() + b.total()
    return 2.0 * (a & b).total() / total if total else math.nan


def _ngrams(text: str) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return Counter(zip(*(words[i:] for i in range(N)), strict=False))
