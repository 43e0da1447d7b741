"""Is this endpoint still the same model? A watch asks the baseline's questions, a token at a time.

The test is that of `auditor.judge.wagers`: valid whenever it is stopped, and across as many calls
as there are, if they share a log.
"""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auditor.canon import json_digest
from auditor.collect.first_answers import answer_of, check_draws, drawn_samples, is_answer
from auditor.enrolment.baseline import LOG10_ALARM, QUERIES
from auditor.errors import InputError, ServerError
from auditor.judge.wagers import Wagers
from auditor.models import parse
from auditor.models.base import Model
from auditor.progress import Progress
from auditor.types import Probe, Sample
from auditor.watch_baseline import groups_of, probe_of
from auditor.watch_log import SCHEMA as LOG
from auditor.watch_log import SEEDS, WatchLog, opened_log

RESULT = "auditor/watch/3"
IN_A_ROW = 20
"""Replies that are no answers, one after the other, at which a watch ends; where half of all are
withheld, so many in a row come once in a million."""
_LIMITS = (
    "A deployment that answers otherwise than those of every group of the baseline is called "
    "changed, also where the weights are the same: another system message or template is another "
    "deployment. Enrol it with --also.",
    "An endpoint that hands questions to deployments of several groups at once may be called "
    "changed.",
    "A change that leaves the answers to these questions as they are is not seen.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """A watch as a person asks for it."""

    queries: int = QUERIES
    """Most that are asked in this call."""
    log10_alarm: float = LOG10_ALARM
    log: Path | None = None
    seed: int | None = None


@dataclass(slots=True)
class _State:
    wager: Wagers
    counts: list[list[int]]
    """Of each cell, how often each answer was given."""
    highest: float = 0.0
    withheld: int = 0
    in_a_row: int = 0
    """Of the last replies, those that are no answers."""
    models: set[str] = field(default_factory=set)
    fingerprints: set[str] = field(default_factory=set)

    def add(self, line: dict[str, Any]) -> None:
        """Take a line of the log into account."""
        self.models |= {line["model"]} if "model" in line else set()
        self.fingerprints |= {line["fingerprint"]} if "fingerprint" in line else set()
        if "cell" not in line:
            self.withheld += 1
            self.in_a_row += 1
            return
        self.in_a_row = 0
        self.highest = max(self.highest, self.wager.add(line["cell"], line["answer"]))
        self.counts[line["cell"]][line["answer"]] += 1


def watch(
    model: Model, baseline: dict[str, Any], wanted: Watching, progress: Progress
) -> dict[str, Any]:
    """Ask until a change is seen or the queries are used up; return what `auditor watch` prints.

    Args:
        model: the endpoint.
        baseline: what `auditor.watch_baseline.read_baseline` returned.
        wanted: how long, and where the answers are kept.
        progress: shows the queries.

    Raises:
        InputError: numbers that cannot be, or the log is of another watch, broken, or in use.
        AccessError: the subject is a recording, which answers nothing anew.
        SubjectError, ServerError: the model cannot be asked, or the server withholds its replies.
        StorageError: the log cannot be written.
    """
    check_draws(model.ref.spec)
    if wanted.queries < 1:
        raise InputError(f"{wanted.queries} queries", hint="at least 1")
    sizes = [len(cell["answers"]) + 1 for cell in baseline["cells"]]
    state = _State(Wagers(groups_of(baseline)), [[0] * size for size in sizes])
    with opened_log(wanted.log, _head(model, baseline, wanted), sizes) as log:
        for line in log.lines:
            state.add(line)
        with progress.task("watch", wanted.queries) as task:
            for _ in range(wanted.queries):
                if state.highest >= wanted.log10_alarm:
                    break
                line = _asked(model, baseline, state, log, kept=wanted.log is not None)
                log.append(line)
                state.add(line)
                _check_answered(model, state)
                task.advance()
    return _result(model, baseline, wanted, state)


def _head(model: Model, baseline: dict[str, Any], wanted: Watching) -> dict[str, Any]:
    seed = secrets.randbits(30) if wanted.seed is None else wanted.seed
    if not 0 <= seed < SEEDS:
        raise InputError(f"a seed of {seed}", hint=f"from 0 to {SEEDS - 1}")
    digest = json_digest(baseline)
    return {"schema": LOG, "subject": model.ref.spec, "baseline": digest, "seed": seed}


def _asked(
    model: Model, baseline: dict[str, Any], state: _State, log: WatchLog, *, kept: bool
) -> dict[str, Any]:
    """Ask one question; return the line of its reply."""
    place = state.wager.next_cell()
    cell = baseline["cells"][place]
    # A seed of its own for each query: otherwise a server repeats its draw.
    seed = log.seed + len(log.lines)
    try:
        sample = _drawn(model, probe_of(cell), baseline["temperature"], seed)
    except ServerError as error:
        if not kept and error.hint is not None and "kept" in error.hint:
            error.hint = _UNKEPT
        raise
    said = {"text": answer_of(sample.text), "time": _now(), **_server(sample)}
    if not is_answer(sample):
        return said
    names: list[str] = cell["answers"]
    answer = names.index(said["text"]) if said["text"] in names else len(names)
    return {"cell": place, "answer": answer, **said}


_UNKEPT = (
    "check that the server is up and repeat the command; give --log FILE to keep the answers: "
    "without it they are asked again"
)


def _drawn(model: Model, probe: Probe, temperature: float, seed: int) -> Sample:
    ((sample,),) = drawn_samples(model, [probe], 1, temperature, seed)
    return sample


def _server(sample: Sample) -> dict[str, str]:
    """Return what a server says beside a reply."""
    call = sample.exchange
    if call is None:
        return {}
    named = {"model": call.model, "fingerprint": call.fingerprint}
    said = {key: value for key, value in named.items() if value is not None}
    return said if call.outcome == "ok" else {**said, "outcome": call.outcome}


def _check_answered(model: Model, state: _State) -> None:
    if state.in_a_row >= IN_A_ROW:
        raise ServerError(
            f"{model.ref.spec} filtered or refused the last {state.in_a_row} replies; "
            f"{state.wager.asked.sum()} answers before showed no change",
            hint="that is no answer: find out what withholds them, or enrol the endpoint as it is",
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _result(
    model: Model, baseline: dict[str, Any], wanted: Watching, state: _State
) -> dict[str, Any]:
    changed = state.highest >= wanted.log10_alarm
    place = state.wager.nearest
    nearest = baseline["groups"][place]
    alone = state.wager.groups[place].log10_of_cells()
    return {
        "schema": RESULT,
        "subject": model.ref.spec,
        "baseline": {"spec": baseline["spec"], "digest": json_digest(baseline)},
        "outcome": "changed" if changed else "no change seen",
        "queries": int(state.wager.asked.sum()),
        "withheld": state.withheld,
        "served": _served(model, state),
        "log10_wealth": state.wager.log10_wealth,
        "highest_log10_wealth": state.highest,
        "log10_alarm": wanted.log10_alarm,
        "nearest": {"spec": nearest["spec"], "system": nearest["system"]},
        "p": min(1.0, 10.0**-state.highest),
        "cells": [
            {
                "probe": cell["probe"],
                "answers": [*cell["answers"], None],
                "given": counts,
                "ceilings": cell["groups"][place]["ceilings"],
                "log10_wealth": float(alone[index]),
            }
            for index, (cell, counts) in enumerate(
                zip(baseline["cells"], state.counts, strict=True)
            )
        ],
        "forecast": {
            "queries": QUERIES,
            "log10_alarm": LOG10_ALARM,
            "changes": baseline["power"],
        },
        "limits": list(_LIMITS),
    }


def _served(model: Model, state: _State) -> dict[str, Any]:
    """Return which model was asked of a server, and what the server says of itself."""
    parsed = parse(model.ref.spec)
    return {
        "asked": parsed.rest if parsed.scheme == "openai" else None,
        "models": sorted(state.models),
        "fingerprints": sorted(state.fingerprints),
    }
