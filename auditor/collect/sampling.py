"""Replies of a model to the probes of a suite, written as chained record lines.

The batches follow from the plan alone, so a resumed run repeats exactly the batch that was cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.canon import json_digest
from auditor.collect.collection import Collection
from auditor.collect.store import RecordWriter
from auditor.errors import AccessError, MissingExtraError, StorageError, SubjectError
from auditor.models.base import Model
from auditor.stored import PlannedSuite, probe_digest
from auditor.types import Decoding, Probe, Sample

_PROMPT_TOKENS = 64
"""Tokens that a typical prompt is taken to have when batches are sized."""

_NOT_OF_A_PROBE = (StorageError, MissingExtraError, AccessError, ImportError)
"""Failures of the whole subject or of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the replies of one subject are drawn, out of the plan."""

    subject: str
    repeats: int
    decoding: Decoding
    seed: int
    batch_tokens: int

    def batches(self, suite: PlannedSuite) -> list[tuple[Probe, ...]]:
        """Return the probes of a suite in the groups that are sampled and stored together."""
        reply = _PROMPT_TOKENS + self.decoding.max_new_tokens
        size = max(1, self.batch_tokens // (reply * self.repeats))
        probes = suite.probes
        return [probes[start : start + size] for start in range(0, len(probes), size)]


def sample_suite(
    run: Collection, model: Model, suite: PlannedSuite, wanted: Sampling
) -> Iterator[int]:
    """Write what the records of a subject on a suite still lack; yield the probes done, by batch.

    A probe on which the model fails gets records with the outcome ``error``.

    Raises:
        CaseError: what is there was changed.
        StorageError: the disk is full; the batches written before are kept.
    """
    path = run.case.records(wanted.subject, suite.id)
    if path.is_file():
        yield len(suite.probes)
        return
    batches = wanted.batches(suite)
    sizes = [len(batch) * wanted.repeats for batch in batches]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    with RecordWriter(path, ends) as writer:
        run.log_cut(path, writer.cut)
        for batch, end in zip(batches, ends, strict=True):
            if end > writer.lines:
                writer.append(_records(model, batch, suite.id, wanted))
            yield len(batch)
        writer.finish()
        file = path.relative_to(run.case.root).as_posix()
        run.custody.log("records", file=file, lines=writer.lines, last=writer.last)


def _records(
    model: Model, batch: Sequence[Probe], suite: str, wanted: Sampling
) -> list[dict[str, Any]]:
    drawn = _draw(model, batch, wanted)
    lines = []
    for probe in batch:
        for repeat in range(wanted.repeats):
            reply = drawn.samples.get((probe.id, repeat))
            failure = None
            if reply is None:
                failure = drawn.failures.get(probe.id, "the subject gave no reply to this probe")
            lines.append(
                {
                    "suite": suite,
                    "probe_id": probe.id,
                    "probe_digest": probe_digest(probe),
                    "subject": wanted.subject,
                    "repeat": repeat,
                    "attempt": 1,
                    **_request(reply, wanted),
                    **_reply(reply, failure),
                }
            )
    return lines


def _request(reply: Sample | None, wanted: Sampling) -> dict[str, Any]:
    request = {
        "prompt": "" if reply is None else reply.prompt,
        "decoding": wanted.decoding.as_json(),
        "seed": wanted.seed,
    }
    return {"request": request, "request_digest": json_digest(request)}


def _reply(reply: Sample | None, failure: str | None) -> dict[str, Any]:
    if reply is None:
        reply = Sample(
            probe_id="",
            repeat=0,
            prompt="",
            prompt_ids=(),
            token_ids=(),
            text="",
            finish_reason="unknown",
        )
    outcome = "ok" if reply.text else "empty"
    return {
        "text": reply.text,
        "token_ids": list(reply.token_ids),
        "prompt_ids": list(reply.prompt_ids),
        "finish_reason": reply.finish_reason,
        "usage": {
            "prompt_tokens": len(reply.prompt_ids),
            "completion_tokens": len(reply.token_ids),
        },
        "outcome": outcome if failure is None else "error",
        "error": failure,
    }


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Replies by (probe id, repeat), and why a probe lacks some."""

    samples: dict[tuple[str, int], Sample]
    failures: dict[str, str]


def _draw(model: Model, batch: Sequence[Probe], wanted: Sampling) -> _Drawn:
    try:
        return _Drawn(_ask(model, batch, wanted.repeats, wanted), {})
    except _NOT_OF_A_PROBE:
        raise
    except Exception as error:
        if len(batch) == 1:
            return _draw_fewer(model, batch[0], wanted, _probe_failure(error, batch[0]))
    # One bad probe must not cost the others: ask again, each alone.
    drawn = _Drawn({}, {})
    for probe in batch:
        alone = _draw(model, (probe,), wanted)
        drawn.samples.update(alone.samples)
        drawn.failures.update(alone.failures)
    return drawn


def _draw_fewer(model: Model, probe: Probe, wanted: Sampling, failure: str) -> _Drawn:
    """Return as many repeats as the model can give: recorded outputs may hold fewer than planned.

    A draw depends on its repeat, not on how many are drawn with it.
    """
    for repeats in range(wanted.repeats - 1, 0, -1):
        try:
            return _Drawn(_ask(model, (probe,), repeats, wanted), {probe.id: failure})
        except _NOT_OF_A_PROBE:
            raise
        except Exception as error:
            _probe_failure(error, probe)
    return _Drawn({}, {probe.id: failure})


def _ask(
    model: Model, probes: Sequence[Probe], repeats: int, wanted: Sampling
) -> dict[tuple[str, int], Sample]:
    drawn = model.sample(probes, repeats, wanted.decoding, wanted.seed)
    return {(reply.probe_id, reply.repeat): reply for reply in drawn}


def _probe_failure(error: Exception, probe: Probe) -> str:
    """Return the reason for a record.

    Raises:
        SubjectError: memory ran out. Another machine would answer, so it must not be recorded.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        raise SubjectError(
            f"memory ran out on the single probe {probe.id!r}",
            hint="use another --device, a smaller --dtype or fewer new tokens",
        ) from error
    return f"{type(error).__name__}: {error}"
