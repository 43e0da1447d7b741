"""Replies that came with log-probabilities, as the records of a case keep them: nothing is asked.

Of a subject behind a server they stand in its log, of recorded outputs in its record lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from auditor.collect.collection import Collection
from auditor.collect.conditions import conditioned, system_of
from auditor.collect.sampling import Sampling
from auditor.errors import AccessError, SubjectError
from auditor.models.openai_replies import Position, chat_positions
from auditor.models.openai_server import OpenAIServer
from auditor.models.recorded import RecordedModel
from auditor.stored import iterate_records, planned_probes
from auditor.types import Probe

Shown = OpenAIServer | RecordedModel
"""Models that can only reply, and may show log-probabilities beside it."""


@dataclass(frozen=True, slots=True)
class ShownReply:
    """A reply and its generated tokens, as far as they were shown."""

    probe: int
    """Index into the probes of the case."""
    repeat: int
    text: str
    positions: tuple[Position, ...]


def shown_replies(run: Collection, model: Shown, name: str) -> Iterator[ShownReply]:
    """Yield the replies of a subject that came with log-probabilities, in plan order.

    Its records must be complete.

    Raises:
        CaseError: a record was changed.
        ServerError, StorageError: as `OpenAIServer.reply`.
    """
    repeats = run.plan["repeats"]
    probes, system = planned_probes(run.case), system_of(run.plan)
    wanted = Sampling.planned(run.plan, name, model.ref.parameters)
    for row, record in enumerate(iterate_records(run.case, name)):
        if record["outcome"] == "error" or not record["text"]:
            continue
        probe = row // repeats
        if isinstance(model, RecordedModel):
            positions = chat_positions(record.get("recorded", {}).get("logprobs"))
        else:
            asked = conditioned(probes[probe], system)
            positions = _logged(model, asked, record["repeat"], wanted)
        if positions:
            yield ShownReply(probe, record["repeat"], record["text"], positions)


def _logged(
    model: OpenAIServer, probe: Probe, repeat: int, wanted: Sampling
) -> tuple[Position, ...] | None:
    """Return what the log of a server has beside a reply; it was asked for when it was drawn."""
    try:
        return model.reply(probe, repeat, wanted.decoding, wanted.seed).positions
    except (AccessError, SubjectError):  # its record says so
        return None
