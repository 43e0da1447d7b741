"""Replies of two subjects, matched: repeat r of the reference with repeat r of the suspect.

Where the subjects have different numbers of repeats, the common ones count. Matching keeps the
work linear in N, and a subject against itself compares every reply with itself.
"""

import math
from collections.abc import Callable

import numpy as np

from auditor.errors import UndefinedError
from auditor.outputs import OutputSet, Pair
from auditor.texts import Replies
from auditor.types import Array, Probe

Score = Callable[[Probe, str, str], float]


def reply_means(pair: Pair, score: Score) -> Array:
    """Return (P,) float64: the mean of ``score(probe, reference reply, suspect reply)``.

    A score of NaN leaves its repeat out; a probe without any other is NaN.

    Raises:
        UndefinedError: the texts are missing.
    """
    pair.require("texts")
    rows = zip(pair.probes, _texts(pair.reference), _texts(pair.suspect), strict=True)
    return np.array(
        [
            _mean([score(probe, a, b) for a, b in zip(ours, theirs, strict=False)])
            for probe, ours, theirs in rows
        ],
        dtype=np.float64,
    )


def _texts(outputs: OutputSet) -> Replies:
    if outputs.texts is None:
        raise UndefinedError(f"no texts of {outputs.subject}")
    return outputs.texts


def _mean(scores: list[float]) -> float:
    kept = [score for score in scores if not math.isnan(score)]
    return math.fsum(kept) / len(kept) if kept else math.nan
