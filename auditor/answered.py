"""What a subject of a case answered: the outputs that measures are defined on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from auditor.case import Case
from auditor.errors import CaseError
from auditor.outputs import OutputSet
from auditor.stored import iterate_records, planned_probes, read_array, read_refs
from auditor.texts import stored_texts
from auditor.types import Array
from auditor.withheld import withheld_failures


@dataclass(frozen=True, slots=True)
class Answered:
    """All P probes of one subject, and which of them it answered."""

    outputs: OutputSet
    answered: Array
    """(P,) bool."""


def load_outputs(case: Case, subject: str) -> OutputSet:
    """Return what a subject answered: the probes of the plan without those that failed.

    N is the number of repeats that keeps the most replies; probes with fewer are left out and
    stand in errors.jsonl.
    """
    stored = load_answered(case, subject)
    return stored.outputs.take(np.flatnonzero(stored.answered))


def load_answered(case: Case, subject: str) -> Answered:
    """Return all P probes of a subject, and which of them it answered.

    Raises:
        CaseError: it was not collected, or a file of it was changed.
    """
    refs = read_refs(case)
    if subject not in refs:
        raise CaseError(f"{subject!r} was not collected; collected: {', '.join(sorted(refs))}")
    probes = planned_probes(case)
    repeats = case.kept_json("plan.json")["repeats"]
    replies = np.zeros(len(probes), dtype=np.int32)
    texts = stored_texts(_counted_texts(case, subject, replies, repeats), repeats)
    n = _kept_repeats(replies)
    embeddings = read_array(case, "embeddings", subject)
    if embeddings is not None:
        # (P * N, E) -> (P, N, E)
        embeddings = embeddings.reshape(len(probes), repeats, -1)[:, :n]
    outputs = OutputSet(
        subject=subject,
        model=refs[subject],
        probes=probes,
        texts=texts.first(n),
        embeddings=embeddings,
        hidden=read_array(case, "hidden", subject),
        topk=read_array(case, "topk", subject),
        answers=read_array(case, "answers", subject),
    )
    return Answered(outputs, replies >= n)


def _counted_texts(case: Case, subject: str, replies: Array, repeats: int) -> Iterator[str]:
    """Yield all replies; count in `replies` (P,) how many in a row, from the first, are there."""
    failed = withheld_failures(case, subject)
    for row, record in enumerate(iterate_records(case, subject)):
        probe = row // repeats
        place = (record["suite"], record["probe_id"], record["repeat"])
        answered = record["outcome"] != "error" and place not in failed
        if answered and replies[probe] == record["repeat"]:
            replies[probe] += 1
        yield record["text"]


def _kept_repeats(replies: Array) -> int:
    """Return the number of repeats, at least 1, that keeps the most replies in a full (P, N)."""
    candidates = range(1, int(replies.max(initial=1)) + 1)
    return max(candidates, key=lambda n: (n * np.count_nonzero(replies >= n), n), default=1)
