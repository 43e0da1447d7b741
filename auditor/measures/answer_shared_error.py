"""How often two subjects that are both wrong are wrong in the same way."""

import math

import numpy as np

from auditor.answers import given_answer, is_correct
from auditor.errors import UndefinedError
from auditor.measures._registry import measure
from auditor.measures._replies import reply_means
from auditor.outputs import Pair
from auditor.types import Array, Probe


@measure(
    "answer-shared-error",
    version=1,
    group="idiosyncrasy",
    unit="share",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=True,
    needs=("texts",),
    library="python",
)
def answer_shared_error(pair: Pair) -> Array:
    """Among checkable probes that both answer wrongly, the share with the same wrong answer.

    Formula: 1 where the wrong answers of reply r of both are equal, else 0, mean over the repeats
    where both give a wrong answer, then over probes. Extra repeats of either are not used. The
    behaviour behind error consistency (Geirhos et al. 2020) and CAPA (Goel et al. 2025), without
    their correction for chance.

    Range: [0, 1]. Symmetric.
    Degenerate: undefined where no probe is checkable or there is no common error, which is itself
    no sign of independence: a subject that is never wrong shares no error.

    Pitfalls: chance is high where few wrong answers are possible: with 4 choices, two independent
    guesses that are both wrong agree in 1 of 3. Some mistakes are everybody's (a misprinted
    question, a known trap), so controls of equal ability decide what is unusual. The number of
    probes is small, and with it the weight.
    """
    if all(probe.answer is None for probe in pair.probes):
        raise UndefinedError("no probe has a checkable answer")
    values = reply_means(pair, _same_error)
    if np.isnan(values).all():
        raise UndefinedError("no checkable probe was answered wrongly by both")
    return values


def _same_error(probe: Probe, ours: str, theirs: str) -> float:
    # None: no answer can be read, which is no error to share.
    if is_correct(probe, ours) is not False or is_correct(probe, theirs) is not False:
        return math.nan
    return float(given_answer(probe, ours) == given_answer(probe, theirs))
