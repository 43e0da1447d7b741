"""How often two subjects give the same answer to a checkable question."""

import math

from auditor.answers import given_answer
from auditor.errors import UndefinedError
from auditor.measures._registry import measure
from auditor.measures._replies import reply_means
from auditor.outputs import Pair
from auditor.types import Array, Probe


@measure(
    "answer-shared",
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
def answer_shared(pair: Pair) -> Array:
    """Share of checkable probes where both give the same answer, right or wrong, mean over repeats.

    Formula: 1 where the answer found in reply r of the reference equals the one found in reply r of
    the suspect, else 0. Extra repeats of either are not used.

    Range: [0, 1]. Symmetric.
    Degenerate: a repeat where neither reply holds an answer is left out; where only one does, it
    counts as different. Undefined where no probe is checkable or no answer was found.

    Pitfalls: two good models agree because both are right, and two that answer "yes" to everything
    agree as well: this measures ability and habit before lineage (see answer-shared-error). No
    evidence of a link by itself: it is read against controls only.
    """
    if all(probe.answer is None for probe in pair.probes):
        raise UndefinedError("no probe has a checkable answer")
    return reply_means(pair, _same)


def _same(probe: Probe, ours: str, theirs: str) -> float:
    a, b = given_answer(probe, ours), given_answer(probe, theirs)
    return math.nan if a is None and b is None else float(a == b)
