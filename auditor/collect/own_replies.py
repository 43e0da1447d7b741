"""How likely each author finds its own replies: ``arrays/own/<subject>.npy``.

A subject that can only reply shows it beside the reply. Others read their replies once more; those
that score everybody's replies (see `auditor.collect.crossing`) score their own among them.
"""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from auditor.collect.arrays import ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.conditions import conditioned, system_of
from auditor.collect.crossed_replies import scored_rows
from auditor.collect.crossing import scorers, unused_reason
from auditor.collect.shown import Shown, ShownReply, shown_replies
from auditor.errors import CaseError, InputError
from auditor.models.base import Model
from auditor.models.openai_server import OpenAIServer
from auditor.models.recorded import RecordedModel
from auditor.panel import OWN, TEMPERATURES
from auditor.stored import iterate_records, planned_probes
from auditor.types import Access, Array

LEAST = -1e3
"""Nats of a token; servers write -9999 and the like for one that they show no probability of."""
_AT_ONE = TEMPERATURES.index(1.0)


def score_own(run: Collection, model: Model, name: str) -> str | None:
    """Write how likely a subject finds its own replies; return why nothing is known, if so.

    Raises:
        CaseError: a record was changed.
        ServerError, StorageError: as `shown_replies`.
    """
    shown = model if isinstance(model, OpenAIServer | RecordedModel) else None
    if run.case.array("own", name).is_file() or (shown is None and _scores_all(run, name)):
        return None
    reason = unused_reason(run) or run.access_reason(model.ref, Access.TOPK)
    if reason:
        return reason
    try:
        rows = _shown_rows(run, shown, name) if shown else _read_rows(run, model, name)
    except CaseError:
        raise
    except InputError as error:
        # The model cannot read its replies; what it said itself still counts.
        return error.message
    if not len(rows):
        return "none of its replies has the log-probabilities of all its tokens"
    with ArrayWriter(run.case.array("own", name), OWN, len(rows)) as writer:
        writer.resume([0])
        writer.append(rows)
        writer.finish()
    return None


def _scores_all(run: Collection, name: str) -> bool:
    return name == run.reference or any(name == scorer["name"] for scorer in scorers(run))


def _shown_rows(run: Collection, model: Shown, name: str) -> Array:
    """Return (n,) of dtype OWN: the replies whose tokens, as they were shown, spell them."""
    found = (own_row(reply) for reply in shown_replies(run, model, name))
    return np.fromiter((row for row in found if row is not None), dtype=OWN)


def own_row(reply: ShownReply) -> tuple[int, int, int, int, float] | None:
    """Return the row of a reply; None where a token or its log-probability is not known.

    Tokens after the text (an end that is shown) do not count. A part of a character that was shown
    as the sign U+FFFD spells nothing: then the reply is left out.
    """
    raw, spelled, total = reply.text.encode(), b"", 0.0
    for count, position in enumerate(reply.positions, start=1):
        spelled += position.chosen.piece
        total += position.chosen.logprob
        if position.chosen.logprob < LEAST or not raw.startswith(spelled):
            return None
        if spelled == raw:
            return reply.probe, reply.repeat, len(raw), count, total
    return None


def _read_rows(run: Collection, model: Model, name: str) -> Array:
    """Return (n,) of dtype OWN: the replies as the model finds them when it reads them."""
    probes, system = planned_probes(run.case), system_of(run.plan)
    answered = sum(1 for _ in _replies_by_probe(run, name))
    rows: list[Array] = [np.zeros(0, dtype=OWN)]

    def steps() -> Iterator[int]:
        for index, repeats, texts in _replies_by_probe(run, name):
            scored = scored_rows(model, conditioned(probes[index], system), texts, run.longest_text)
            rows.append(_own_rows(index, repeats, scored))
            yield 1

    run.show(f"read again {name}", answered, steps())
    return np.concatenate(rows)


def _replies_by_probe(run: Collection, name: str) -> Iterator[tuple[int, list[int], list[str]]]:
    """Yield (probe, repeats, texts) of each probe with a reply; those without one are left out."""
    records = enumerate(iterate_records(run.case, name))
    for probe, group in groupby(records, key=lambda pair: pair[0] // run.plan["repeats"]):
        said = [
            (record["repeat"], record["text"])
            for _, record in group
            if record["outcome"] != "error" and record["text"]
        ]
        if said:
            yield probe, [repeat for repeat, _ in said], [text for _, text in said]


def _own_rows(probe: int, repeats: list[int], scored: Array) -> Array:
    """Return (n,) of dtype OWN, without replies that could not be read."""
    rows = np.zeros(len(scored), dtype=OWN)
    rows["probe"], rows["repeat"] = probe, repeats
    rows["bytes"], rows["tokens"] = scored["bytes"], scored["tokens"]
    rows["logprob"] = scored["logprob"][:, _AT_ONE]
    return rows[scored["tokens"] > 0]
