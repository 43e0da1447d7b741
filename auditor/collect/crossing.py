"""Crossing: every scorer says how likely it finds the replies of every author.

Scorers are the reference and the controls without a link to it; authors are all subjects of the
plan. A reply is scored once a scorer, whoever and however often it was given.
"""

from typing import Any

import numpy as np

from auditor.collect.arrays import ArrayReader, ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.crossed_replies import score_replies, scored_path
from auditor.collect.replies import Replies, read_replies
from auditor.collect.shelf import Shelf
from auditor.collect.store import part_path
from auditor.errors import CaseError, InputError
from auditor.panel import CROSSING, NULL_ROLES
from auditor.types import Access, Array

FEWEST_FAMILIES = 2
"""Of controls without a link to the reference: with one, nothing says how much scorers differ."""
_BLOCK = 1 << 16
"""Rows put in order at a time."""


def scorers(run: Collection) -> list[dict[str, Any]]:
    """Return the subjects that score, the reference first; none where nobody uses the scores."""
    if unused_reason(run):
        return []
    first, *others = run.plan["subjects"]
    return [first, *(subject for subject in others if subject["role"] in NULL_ROLES)]


def unused_reason(run: Collection) -> str | None:
    """Return why the plan has no use for a crossing, or None where it has."""
    subjects = run.plan["subjects"]
    found = len({subject["family"] for subject in subjects if subject["role"] in NULL_ROLES})
    if found >= FEWEST_FAMILIES:
        return None
    count = "no family" if not found else f"{found} family"
    return (
        f"the plan has {count} of controls without a link to the reference, at least "
        f"{FEWEST_FAMILIES} are needed: add --control SPEC"
    )


def collect_crossing(run: Collection, shelf: Shelf) -> dict[str, str]:
    """Write ``arrays/crossing/<scorer>.npy`` of every scorer; return why it lacks, by subject.

    The records of all subjects must be complete.

    Raises:
        CaseError: a model is not the one that was planned, or a record was changed.
        StorageError: the disk is full; what was written before is kept.
    """
    _, *others = run.plan["subjects"]
    reason = unused_reason(run)
    if reason:
        return {subject["name"]: reason for subject in others}
    replies = read_replies(run.case)
    missing = _silent(run, replies)
    for scorer in scorers(run):
        failure = _cross(run, shelf, scorer, replies)
        if failure and scorer["name"] == run.reference:
            # Nothing that the controls say has a use then.
            return {subject["name"]: f"of the reference: {failure}" for subject in others}
        if failure:
            missing[scorer["name"]] = failure
    return missing


def _silent(run: Collection, replies: Replies) -> dict[str, str]:
    """Return the reason of each author without a reply."""
    return {
        subject["name"]: "it gave no reply, or empty ones only"
        for subject, said in zip(run.plan["subjects"], replies.said, strict=True)
        if (said < 0).all()
    }


def _cross(run: Collection, shelf: Shelf, scorer: dict[str, Any], replies: Replies) -> str | None:
    """Write the rows of one scorer; return why there are none, where it is so."""
    name = scorer["name"]
    if run.case.array("crossing", name).is_file():
        return None
    if not scored_path(run.case, name).is_file():
        failure = _score(run, shelf, scorer, replies)
        if failure:
            return failure
    return _place(run, name, replies)


def _score(run: Collection, shelf: Shelf, scorer: dict[str, Any], replies: Replies) -> str | None:
    name = scorer["name"]
    with shelf.use(scorer) as model:
        reason = run.access_reason(model.ref, Access.LOGITS)
        if reason:
            return reason
        run.custody.log(
            "crossing",
            name=name,
            digest=model.ref.digest,
            prompts="read once" if model.shares_prefixes else "read with every reply",
        )
        try:
            steps = score_replies(run, model, name, replies)
            run.show(f"cross {name}", replies.total, steps)
        except CaseError:
            raise
        except InputError as error:
            # The model cannot be run on these replies; what it said itself still counts.
            part_path(scored_path(run.case, name)).unlink(missing_ok=True)
            return error.message
    return None


def _place(run: Collection, scorer: str, replies: Replies) -> str | None:
    """Put the scores in order of author, probe and repeat; return why there are none."""
    source = ArrayReader(scored_path(run.case, scorer))
    scored = source.read(0, source.shape[0])
    if not (scored["tokens"] > 0).any():
        return f"{scorer} can read none of the {replies.total} different replies"
    with ArrayWriter(run.case.array("crossing", scorer), CROSSING, None) as writer:
        writer.resume([0])
        authors = max(1, _BLOCK // max(1, replies.said[0].size))
        for first in range(0, len(replies.said), authors):
            writer.append(_rows(scored, replies, range(first, first + authors)))
        writer.finish()
    return None


def _rows(scored: Array, replies: Replies, authors: range) -> Array:
    """Return the rows of CROSSING of some authors."""
    said = replies.said[authors.start : authors.stop]
    author, probe, repeat = np.nonzero(said >= 0)
    found = scored[np.array(replies.starts)[probe] + said[author, probe, repeat]]
    rows = np.zeros(len(found), dtype=CROSSING)
    rows["author"], rows["probe"], rows["repeat"] = author + authors.start, probe, repeat
    for name in ("bytes", "tokens", "logprob"):
        rows[name] = found[name]
    return rows[rows["tokens"] > 0]
