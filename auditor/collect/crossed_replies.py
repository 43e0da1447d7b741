"""How likely one scorer finds each different reply, after its own rendering of the probe.

The replies to one probe share the reading of its prompt.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auditor.case import Case
from auditor.collect.arrays import ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.conditions import conditioned, system_of
from auditor.collect.replies import Replies
from auditor.collect.tempered import tempered_logprobs
from auditor.errors import SubjectError
from auditor.models.base import Encoded, Model
from auditor.panel import TEMPERATURES
from auditor.stored import planned_probes
from auditor.types import Array, Probe

SCORED = np.dtype([("bytes", "<i4"), ("tokens", "<i4"), ("logprob", "<f8", (len(TEMPERATURES),))])
"""Row of ``work/crossing/<scorer>.npy``, in the order of `Replies.texts`; see `CROSSING`. No tokens
where the scorer cannot read the reply, or excludes it."""

_FLUSHED = 1 << 33
"""Replies times parameters between two writes: a flush to the disk costs milliseconds."""
_MOST_FLUSHED = 1024


@dataclass(frozen=True, slots=True)
class ReplyTokens:
    """A prompt and a reply in a scorer's tokens, of which those from `first` on are scored."""

    ids: tuple[int, ...]
    first: int
    """At least 1: something must predict the first scored token."""
    bytes: int
    """UTF-8 bytes of the reply that the scored tokens spell."""


def reply_tokens(encoded: Encoded, border: int, limit: int | None = None) -> ReplyTokens | None:
    """Return the tokens of a reply, or None where none can be scored.

    A token that reaches across the border counts as the reply's. Without a start token the very
    first token is predicted by nothing and left out.

    Args:
        encoded: prompt and reply as one text.
        border: UTF-8 byte of the text where the reply starts.
        limit: most tokens that count; the rest is left out.
    """
    ids, ends = encoded.token_ids[:limit], encoded.byte_ends[:limit]
    first = max(1, bisect_right(ends, border))
    if first >= len(ids):
        return None
    return ReplyTokens(ids, first, ends[-1] - max(border, ends[first - 1]))


def score_replies(run: Collection, model: Model, scorer: str, replies: Replies) -> Iterator[int]:
    """Write the scores of all different replies to ``work/``; yield the number done, by batch.

    Raises:
        InputError: the model cannot be run, or its numbers are not finite.
        StorageError: the disk is full; the batches written before are kept.
    """
    path = scored_path(run.case, scorer)
    if path.is_file():
        yield replies.total
        return
    system = system_of(run.plan)
    probes = [conditioned(probe, system) for probe in planned_probes(run.case)]
    batches = _batches(replies, model.ref.parameters or 1)
    ends = [replies.starts[batch[-1]] + replies.counts[batch[-1]] for batch in batches]
    with ArrayWriter(path, SCORED, replies.total) as writer:
        done = writer.resume([0, *ends])
        run.log_cut(path, writer.cut)
        for batch, end in zip(batches, ends, strict=True):
            if end > done:
                rows = [
                    scored_rows(model, probes[index], replies.texts(index), run.longest_text)
                    for index in batch
                ]
                writer.append(np.concatenate(rows))
            yield sum(replies.counts[index] for index in batch)
        writer.finish()


def scored_path(case: Case, scorer: str) -> Path:
    """Return where the scores of the different replies are kept."""
    return case.work / "crossing" / f"{scorer}.npy"


def _batches(replies: Replies, parameters: int) -> list[list[int]]:
    """Return the probes that somebody answered, in the groups that are written together."""
    most = min(max(_FLUSHED // parameters, 1), _MOST_FLUSHED)
    batches: list[list[int]] = []
    size = most
    for probe, count in enumerate(replies.counts):
        if not count:
            continue
        if size >= most:
            batches.append([])
            size = 0
        batches[-1].append(probe)
        size += count
    return batches


def scored_rows(
    model: Model, probe: Probe, texts: Sequence[str], limit: int | None = None
) -> Array:
    """Return (n,) of dtype SCORED: the replies `texts` to one probe.

    Args:
        model: the scorer.
        probe: what was replied to.
        texts: none empty.
        limit: longest sequence in tokens; the rest of a longer one is left out.

    Raises:
        InputError: the model cannot be run, or its numbers are not finite.
    """
    rows = np.zeros(len(texts), dtype=SCORED)
    try:
        prompt = model.render(probe)
    except SubjectError:  # the scorer's own record of this probe says so
        return rows
    border = len(prompt.encode())
    read = [reply_tokens(model.encode(prompt + text), border, limit) for text in texts]
    places = [i for i, reply in enumerate(read) if reply is not None and _fits(model, reply)]
    found = [reply for i in places if (reply := read[i]) is not None]
    if not found:
        return rows
    logprob = _logprobs(model, found)
    finite = np.isfinite(logprob).all(axis=1)
    kept = np.array(places)[finite]
    rows["logprob"][kept] = logprob[finite]
    rows["bytes"][kept] = np.array([reply.bytes for reply in found])[finite]
    rows["tokens"][kept] = np.array([len(reply.ids) - reply.first for reply in found])[finite]
    return rows


def _fits(model: Model, reply: ReplyTokens) -> bool:
    # The last token is predicted, not read.
    return model.longest is None or len(reply.ids) - 1 <= model.longest


def _logprobs(model: Model, replies: Sequence[ReplyTokens]) -> Array:
    """Return (n, G) log-probabilities of whole replies to one probe."""
    import torch

    shared = _shared(replies)
    prefix = replies[0].ids[:shared]
    states = model.hidden_after(prefix, [reply.ids[shared:-1] for reply in replies])
    pairs = zip(replies, states, strict=True)
    scored = torch.cat([found[reply.first - 1 - shared :] for reply, found in pairs])
    targets = np.concatenate([reply.ids[reply.first :] for reply in replies])
    logprobs = tempered_logprobs(model.head(), scored, targets)  # (T, G)
    counts = [len(reply.ids) - reply.first for reply in replies]
    return np.add.reduceat(logprobs, np.cumsum([0, *counts[:-1]]), axis=0)


def _shared(replies: Sequence[ReplyTokens]) -> int:
    """Return how many tokens all begin with, without those that predict a scored one."""
    # What the first and the last in order share, all between them share too.
    first, last = (order(reply.ids for reply in replies) for order in (min, max))
    most = min(reply.first for reply in replies) - 1
    return next((i for i in range(most) if first[i] != last[i]), most)
