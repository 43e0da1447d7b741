"""Crossing: every scorer says how likely it finds the replies of every author.

Scorers are the reference and the controls without a link to it; authors are all subjects of the
plan. A reply is scored once a scorer, whoever and however often it was given.
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from auditor.collect.arrays import ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.crossed_replies import score_replies, scored_path
from auditor.collect.replies import Replies, read_replies
from auditor.collect.shelf import Shelf
from auditor.collect.side_by_side import side_by_side
from auditor.collect.store import part_path
from auditor.errors import CaseError, InputError
from auditor.exchanges import is_served
from auditor.models.base import Model
from auditor.models.batching import is_small
from auditor.models.threads import idle_cores
from auditor.panel import CROSSING, NULL_ROLES
from auditor.stored import read_refs
from auditor.types import Access, Array

FEWEST_FAMILIES = 2
"""Of controls without a link to the reference: with one, nothing says how much scorers differ."""
_BLOCK = 1 << 16
"""Rows put in order at a time."""
_TOGETHER = 4
"""Small scorers loaded for each core: none waits long for the slowest."""


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


Apart = Callable[[list[dict[str, Any]]], dict[str, str]]
"""Has some scorers score the replies in other processes; returns why it failed, by scorer."""


def collect_crossing(run: Collection, shelf: Shelf, apart: Apart | None = None) -> dict[str, str]:
    """Write ``arrays/crossing/<scorer>.npy`` of every scorer; return why it lacks, by subject.

    The records of all subjects must be complete.

    Args:
        run: the collection.
        shelf: opens the scorers.
        apart: scores in other processes; None: in this one.

    Raises:
        CaseError: a model is not the one that was planned, or a record was changed.
        StorageError: the disk is full; what was written before is kept.
    """
    _, *others = run.plan["subjects"]
    reason = unused_reason(run)
    if reason:
        return {subject["name"]: reason for subject in others}
    replies = read_replies(run.case)
    first, *controls = scorers(run)

    def here(group: list[dict[str, Any]]) -> dict[str, str]:
        return _score(run, shelf, group, replies)

    score = here if apart is None else partial(_score_apart, here, apart)
    failed = _cross(run, [first], replies, score)
    if failed:
        # Nothing that the controls say has a use then.
        why = f"of the reference: {failed[run.reference]}"
        return {subject["name"]: why for subject in others}
    missing = _silent(run, replies)
    for group in _groups(run, controls) if apart is None else [controls]:
        missing |= _cross(run, group, replies, score)
    return missing


def _groups(run: Collection, subjects: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the scorers in groups that are loaded together: small ones, some for each core."""
    refs, most = read_refs(run.case), _TOGETHER * idle_cores(run.plan["device"])
    groups: list[list[dict[str, Any]]] = []
    for small, part in groupby(subjects, lambda s: is_small(refs[s["name"]].parameters)):
        members, size = list(part), most if small else 1
        groups += [members[start : start + size] for start in range(0, len(members), size)]
    return groups


def _silent(run: Collection, replies: Replies) -> dict[str, str]:
    """Return the reason of each author without a reply."""
    return {
        subject["name"]: "it gave no reply, or empty ones only"
        for subject, said in zip(run.plan["subjects"], replies.said, strict=True)
        if (said < 0).all()
    }


def _cross(
    run: Collection, group: list[dict[str, Any]], replies: Replies, score: Apart
) -> dict[str, str]:
    """Write the rows of some scorers; return why there are none, by scorer."""
    lacking = [s for s in group if not run.case.array("crossing", s["name"]).is_file()]
    unscored = [s for s in lacking if not scored_path(run.case, s["name"]).is_file()]
    failed = score(unscored)
    for scorer in lacking:
        name = scorer["name"]
        failure = None if name in failed else _place(run, name, replies)
        if failure:
            failed[name] = failure
    return failed


def _score_apart(here: Apart, apart: Apart, group: list[dict[str, Any]]) -> dict[str, str]:
    """Score by some scorers in other processes, but for those behind servers."""
    served = [scorer for scorer in group if is_served(scorer["spec"])]
    others = [scorer for scorer in group if scorer not in served]
    return {**(apart(others) if others else {}), **(here(served) if served else {})}


def score_alone(
    run: Collection, shelf: Shelf, scorer: dict[str, Any], replies: Replies
) -> dict[str, str]:
    """Score the replies by one scorer, into ``work/crossing``; return why it failed, if so."""
    return _score(run, shelf, [scorer], replies)


def _score(
    run: Collection, shelf: Shelf, group: list[dict[str, Any]], replies: Replies
) -> dict[str, str]:
    """Score the replies by some scorers side by side; return why it failed, by scorer."""
    failed: dict[str, str] = {}
    jobs = {}
    at_once = idle_cores(run.plan["device"])  # before small models take one core each
    with ExitStack() as stack:
        for scorer in group:
            name, model = scorer["name"], stack.enter_context(shelf.use(scorer))
            reason = run.access_reason(model.ref, Access.LOGITS)
            if reason:
                failed[name] = reason
                continue
            how = "read once" if model.shares_prefixes else "read with every reply"
            run.custody.log("crossing", name=name, digest=model.ref.digest, prompts=how)
            jobs[name] = _attempt(run, model, name, replies, failed)
        if jobs:
            steps = side_by_side(list(jobs.values()), at_once)
            what = f"{len(jobs)} scorers" if len(jobs) > 1 else next(iter(jobs))
            run.show(f"cross {what}", replies.total * len(jobs), steps)
    return failed


def _attempt(
    run: Collection, model: Model, scorer: str, replies: Replies, failed: dict[str, str]
) -> Generator[int, None, None]:
    """Score the replies; put into `failed` why the model cannot be run on them, where it is so."""
    try:
        yield from score_replies(run, model, scorer, replies)
    except CaseError:
        raise
    except InputError as error:
        # What the model said itself still counts.
        part_path(scored_path(run.case, scorer)).unlink(missing_ok=True)
        failed[scorer] = error.message


def _place(run: Collection, scorer: str, replies: Replies) -> str | None:
    """Put the scores in order of author, probe and repeat; return why there are none."""
    scored = np.load(scored_path(run.case, scorer), mmap_mode="r", allow_pickle=False)
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
