"""What all subjects of a case replied, each distinct text of a probe once."""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from auditor.case import Case
from auditor.stored import iterate_records
from auditor.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Replies:
    """Who said what."""

    texts: tuple[tuple[str, ...], ...]
    """(P)(n_p): the different replies to each probe, in order of first appearance; none empty."""
    said: Array
    """(A, P, N) int32: which of them each subject of the plan said; -1 for none or an empty one."""

    @property
    def total(self) -> int:
        """Number of different replies, over all probes."""
        return sum(map(len, self.texts))

    @property
    def starts(self) -> list[int]:
        """(P): the number of replies to the probes before each."""
        return [0, *accumulate(map(len, self.texts))][:-1]


def read_replies(case: Case) -> Replies:
    """Return the replies in the records of every subject of the plan.

    Raises:
        CaseError: a file is missing or was changed.
    """
    plan = case.read_json("plan.json")
    names = [subject["name"] for subject in plan["subjects"]]
    probes = sum(len(suite["probes"]) for suite in plan["suites"])
    said = np.full((len(names), probes * plan["repeats"]), -1, dtype=np.int32)
    known: list[dict[str, int]] = [{} for _ in range(probes)]
    for author, name in enumerate(names):
        for row, record in enumerate(iterate_records(case, name)):
            if record["outcome"] == "ok":
                texts = known[row // plan["repeats"]]
                said[author, row] = texts.setdefault(record["text"], len(texts))
    shape = (len(names), probes, plan["repeats"])
    return Replies(tuple(tuple(texts) for texts in known), said.reshape(shape))
