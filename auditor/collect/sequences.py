"""The token sequences that models are fed to compare what they expect next.

A sequence is the reference's rendered prompt and its first reply. A scored position is one that
predicts a token of the reply or, where the probe is a text to continue, of the text.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.case import Case
from auditor.collect.conditions import conditioned, system_of
from auditor.errors import SubjectError
from auditor.models.base import Model
from auditor.on_disk import OnDisk
from auditor.stored import iterate_records, planned_probes
from auditor.types import Array, Probe


@dataclass(frozen=True, slots=True, eq=False)
class ForcedText:
    """One sequence of T token ids of which the positions from `first` to T - 2 are scored."""

    probe: int
    """Index into the probes of the case."""
    token_ids: Array
    """(T,) int32."""
    first: int
    answer: int | None = None
    """The position that predicts the first token of the reply; None where it is not known."""

    @property
    def scored(self) -> int:
        """Number of scored positions."""
        return max(len(self.token_ids) - 1 - self.first, 0)

    @property
    def targets(self) -> Array:
        """(scored,) int32: the token that follows each scored position."""
        return self.token_ids[self.first + 1 :]


def reference_sequences(case: Case, reference: str, limit: int | None) -> Sequence[ForcedText]:
    """Return the sequences of the probes that the reference answered, in its own token ids.

    They lie on the disk and are read at each access, in probe order.

    Args:
        case: holds the reference's records.
        reference: its name.
        limit: longest sequence in tokens; the rest of a longer one is left out.
    """
    return _on_disk(case, _as_written(case, reference, limit))


def _as_written(case: Case, reference: str, limit: int | None) -> Iterator[ForcedText]:
    for index, (probe, record) in enumerate(_first_replies(case, reference)):
        prompt = len(record["prompt_ids"])
        ids = np.array([*record["prompt_ids"], *record["token_ids"]][:limit], dtype=np.int32)
        if record["outcome"] == "error" or not len(ids):
            continue
        first = 0 if probe.kind == "text" else max(prompt - 1, 0)
        answer = prompt - 1 if 0 < prompt <= len(ids) else None
        yield ForcedText(index, ids, first, answer)


def own_sequences(
    model: Model, case: Case, reference: str, limit: int | None
) -> Sequence[ForcedText]:
    """Return the reference's replies after the model's own prompt, in the model's token ids.

    A token that reaches across the border of prompt and reply counts as the reply's. On the disk,
    as `reference_sequences`.
    """
    return _on_disk(case, _as_read(model, case, reference, limit))


def _as_read(model: Model, case: Case, reference: str, limit: int | None) -> Iterator[ForcedText]:
    for text in reference_texts(model, case, reference):
        encoded = model.encode(text.prompt + text.reply)
        ids = np.array(encoded.token_ids[:limit], dtype=np.int32)
        if not len(ids):
            continue
        ends = np.array(encoded.byte_ends[:limit])
        own = np.flatnonzero(ends > text.first_byte)
        start = int(own[0]) if len(own) else len(ids)
        yield ForcedText(text.probe, ids, max(start - 1, 0))


_UNKNOWN = -1


def _on_disk(case: Case, texts: Iterator[ForcedText]) -> Sequence[ForcedText]:
    return OnDisk(case.work, texts, _packed, _unpacked)


def _packed(text: ForcedText) -> bytes:
    answer = _UNKNOWN if text.answer is None else text.answer
    return np.array([text.probe, text.first, answer, *text.token_ids], dtype=np.int32).tobytes()


def _unpacked(content: bytes) -> ForcedText:
    numbers = np.frombuffer(content, dtype=np.int32)
    probe, first, answer = numbers[:3].tolist()
    return ForcedText(probe, numbers[3:], first, None if answer == _UNKNOWN else answer)


@dataclass(frozen=True, slots=True)
class ReferenceText:
    """What the reference said, as text, after the prompt as another model is given it."""

    probe: int
    prompt: str
    reply: str
    first_byte: int
    """UTF-8 byte of prompt + reply where the scored part starts."""


def kept_texts(model: Model, case: Case, reference: str) -> Sequence[ReferenceText]:
    """Return what `reference_texts` yields, on the disk."""
    return OnDisk(case.work, reference_texts(model, case, reference), _as_line, _of_line)


def _as_line(text: ReferenceText) -> bytes:
    return json.dumps([text.probe, text.prompt, text.reply, text.first_byte]).encode()


def _of_line(line: bytes) -> ReferenceText:
    return ReferenceText(*json.loads(line))


def reference_texts(model: Model, case: Case, reference: str) -> Iterator[ReferenceText]:
    """Yield the reference's first reply to each probe that it answered, in probe order."""
    system = system_of(case.read_json("plan.json"))
    for index, (probe, record) in enumerate(_first_replies(case, reference)):
        if record["outcome"] == "error":
            continue
        try:
            prompt = model.render(conditioned(probe, system))
        except SubjectError:  # its own record of this probe says so
            continue
        first = 0 if probe.kind == "text" else len(prompt.encode())
        yield ReferenceText(index, prompt, record["text"], first)


def _first_replies(case: Case, reference: str) -> Iterator[tuple[Probe, dict[str, Any]]]:
    first = (record for record in iterate_records(case, reference) if record["repeat"] == 0)
    yield from zip(planned_probes(case), first, strict=True)
