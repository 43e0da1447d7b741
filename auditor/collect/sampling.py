"""Replies of a model to the probes of a case, written as chained record lines, a file a suite.

The groups that are drawn together follow from the plan and the model's size alone, so a resumed
run repeats exactly the group that was cut. They reach across suites: a step of generation costs a
small model the same for one reply as for many.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from auditor.canon import json_digest
from auditor.collect.collection import Collection
from auditor.collect.conditions import system_of
from auditor.collect.drawing import Drawn, draw, read_drawn
from auditor.collect.salt import LineSalts
from auditor.collect.store import Closing, RecordWriter
from auditor.models.base import Model
from auditor.models.batching import roomy_budget
from auditor.stored import PlannedSuite, probe_digest
from auditor.types import Decoding, Probe, Sample

_PROMPT_TOKENS = 64
"""Tokens that a typical prompt is taken to have when groups are sized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the replies of one subject are drawn, out of the plan."""

    subject: str
    repeats: int
    decoding: Decoding
    seed: int
    batch_tokens: int
    """Of which the prompts and replies of a group hold no more; a large probe goes alone."""
    system: str | None = None
    """Message before every chat."""

    @classmethod
    def planned(cls, plan: dict[str, Any], subject: str, parameters: int | None) -> "Sampling":
        """Return how the plan has a subject of that many parameters sampled."""
        return cls(
            subject=subject,
            repeats=plan["repeats"],
            decoding=Decoding(**plan["decoding"]),
            seed=plan["seed"],
            batch_tokens=roomy_budget(plan["batch_tokens"], parameters),
            system=system_of(plan),
        )

    def groups(self, suites: Sequence[PlannedSuite]) -> list[list[tuple[int, Probe]]]:
        """Return (index of its suite, probe) of all probes, by group drawn and stored together."""
        reply = _PROMPT_TOKENS + self.decoding.max_new_tokens
        size = max(1, self.batch_tokens // (reply * self.repeats))
        probes = [(index, probe) for index, suite in enumerate(suites) for probe in suite.probes]
        return [probes[start : start + size] for start in range(0, len(probes), size)]


def sample_suites(
    run: Collection, model: Model, suites: Sequence[PlannedSuite], wanted: Sampling
) -> Iterator[int]:
    """Write what the records of a subject still lack; yield the probes done, by group.

    A probe on which the model fails gets records with the outcome ``error``.

    Raises:
        CaseError: what is there was changed.
        StorageError: the disk is full; the groups written before are kept.
    """
    groups = [
        [(index, [probe for _, probe in part]) for index, part in groupby(group, lambda p: p[0])]
        for group in wanted.groups(suites)
    ]
    with ExitStack() as stack:
        files: dict[int, _SuiteRecords] = {}
        for number, group in enumerate(groups):
            for index, _ in group:
                if index not in files:
                    sizes = [len(part) for g in groups for i, part in g if i == index]
                    opened = _SuiteRecords(run, suites[index], wanted, sizes)
                    files[index] = stack.enter_context(opened)
            lacking = [(files[index], part) for index, part in group if not files[index].has(part)]
            if lacking:
                # All of the group, even where a part is stored: a draw rounds with its batch.
                drawn = read_drawn(run.case, wanted.subject, number) or draw(
                    model, [probe for _, part in group for probe in part], wanted
                )
                for file, part in lacking:
                    file.append(part, drawn)
            _finish(run, [files[index] for index, _ in group])
            yield sum(len(part) for _, part in group)


class _SuiteRecords(Closing):
    """The record file of a subject on a suite."""

    def __init__(
        self, run: Collection, suite: PlannedSuite, wanted: Sampling, sizes: Sequence[int]
    ) -> None:
        """Open the file where it is not complete; `sizes` are the probes of its parts, in order."""
        self.path = run.case.records(wanted.subject, suite.id)
        self.writer: RecordWriter | None = None
        self._suite, self._wanted = suite, wanted
        self._place = {probe.id: index for index, probe in enumerate(suite.probes)}
        if not self.path.is_file():
            ends = [sum(sizes[: i + 1]) * wanted.repeats for i in range(len(sizes))]
            salts = LineSalts(run.case, self.path)
            self.writer = RecordWriter(self.path, ends, salt=salts.of_line)
            run.log_cut(self.path, self.writer.cut)

    def has(self, part: Sequence[Probe]) -> bool:
        """Whether the lines of some probes in a row are there."""
        last = self._place[part[-1].id] + 1
        return self.writer is None or self.writer.lines >= last * self._wanted.repeats

    def append(self, part: Sequence[Probe], drawn: Drawn) -> None:
        """Write the lines of the next probes."""
        if self.writer is not None:
            self.writer.append(_records(part, drawn, self._suite.id, self._wanted))

    def close(self) -> None:
        """Close the file, complete or not."""
        if self.writer is not None:
            self.writer.close()

    @property
    def unnamed(self) -> RecordWriter | None:
        """The writer of a file that has all lines and not yet its final name."""
        return self.writer if self.has(self._suite.probes) else None


def _finish(run: Collection, files: Sequence[_SuiteRecords]) -> None:
    """Give the complete ones among some files of one folder their final names."""
    done = [(file, writer) for file in files if (writer := file.unnamed) is not None]
    if not done:
        return
    rows = [
        {
            "file": file.path.relative_to(run.case.root).as_posix(),
            "lines": writer.lines,
            "last": writer.last,
        }
        for file, writer in done
    ]
    # Before the names: a kill in between has it logged again, the other way round never.
    run.custody.log_all("records", rows)
    first, *others = (writer for _, writer in done)
    first.finish(*others)
    for file, _ in done:
        file.writer = None


def _records(
    part: Sequence[Probe], drawn: Drawn, suite: str, wanted: Sampling
) -> list[dict[str, Any]]:
    lines = []
    for probe in part:
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
                    **_exchange(reply),
                    **_request(reply, wanted),
                    **_reply(reply, failure),
                }
            )
    return lines


def _exchange(reply: Sample | None) -> dict[str, Any]:
    """Return which attempt had the reply and, of a model behind a server, which call it was."""
    if reply is None or reply.exchange is None:
        return {"attempt": 1}
    return {"attempt": reply.exchange.attempts, "exchange": reply.exchange.as_json()}


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
    call = reply.exchange
    outcome = "ok" if reply.text else "empty"
    if call is not None and call.outcome != "ok":
        outcome = call.outcome
    return {
        "text": reply.text,
        "token_ids": list(reply.token_ids),
        "prompt_ids": list(reply.prompt_ids),
        "finish_reason": reply.finish_reason,
        "usage": {
            "prompt_tokens": len(reply.prompt_ids) if call is None else call.prompt_tokens,
            "completion_tokens": len(reply.token_ids) if call is None else call.completion_tokens,
        },
        "outcome": outcome if failure is None else "error",
        "error": failure,
        **({} if reply.recorded is None else {"recorded": dict(reply.recorded)}),
    }
