"""Is this endpoint still the same model? A watch asks the baseline's questions, a token at a time.

The test is that of `auditor.judge.wagers`: valid whenever it is stopped, and across as many calls
as there are, if they share a log.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from auditor.canon import canonical_json, json_digest
from auditor.case import storage_errors
from auditor.collect.first_answers import drawn_answers
from auditor.enrolment.baseline import LOG10_ALARM, QUERIES, SCHEMA
from auditor.errors import InputError
from auditor.judge.betting import Cell
from auditor.judge.cells import cell_of
from auditor.judge.wagers import Wagers
from auditor.models.base import Model
from auditor.progress import Progress
from auditor.types import Message, Probe
from auditor.watched import FILE

RESULT, LOG = "auditor/watch/3", "auditor/watch-log/1"
IN_A_CASE = Path("data", FILE)
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
    highest: float = 0.0
    counts: list[list[int]] = field(default_factory=list)

    def add(self, cell: int, answer: int) -> None:
        self.highest = max(self.highest, self.wager.add(cell, answer))
        self.counts[cell][answer] += 1


def read_baseline(path: Path) -> dict[str, Any]:
    """Return a baseline: a file, or that of a case.

    Raises:
        InputError: there is none, or it is of another schema or broken.
    """
    place = path / IN_A_CASE if path.is_dir() else path
    try:
        content = json.loads(place.read_bytes())
    except OSError as error:
        raise InputError(f"{place} cannot be read: {error.strerror}", hint=_ENROL) from error
    except ValueError as error:
        raise InputError(f"{place} is no JSON: {error}", hint=_ENROL) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"{place} is no baseline of schema {SCHEMA}", hint=_ENROL)
    return content


_ENROL = "`auditor watch SUBJECT --enrol FILE` makes a baseline"


def watch(
    model: Model, baseline: dict[str, Any], wanted: Watching, progress: Progress
) -> dict[str, Any]:
    """Ask until a change is seen or the queries are used up; return what `auditor watch` prints.

    Args:
        model: the endpoint.
        baseline: what `read_baseline` returned.
        wanted: how long, and where the answers are kept.
        progress: shows the queries.

    Raises:
        InputError: the log is of another watch.
        SubjectError, ServerError: the model cannot be asked.
        StorageError: the log cannot be written.
    """
    if wanted.queries < 1:
        raise InputError(f"{wanted.queries} queries", hint="at least 1")
    probes = [probe_of(cell) for cell in baseline["cells"]]
    counts = [[0] * (len(cell["answers"]) + 1) for cell in baseline["cells"]]
    state = _State(Wagers(groups_of(baseline)), counts=counts)
    head, lines = _opened(model, baseline, wanted)
    for line in lines:
        state.add(line["cell"], line["answer"])
    before = len(lines)
    with progress.task("watch", wanted.queries) as task:
        for number in range(before, before + wanted.queries):
            if state.highest >= wanted.log10_alarm:
                break
            cell = state.wager.next_cell()
            # A seed of its own for each query: otherwise a server repeats its draw.
            seed = head["seed"] + number
            (text,) = next(drawn_answers(model, [probes[cell]], 1, baseline["temperature"], seed))
            names = baseline["cells"][cell]["answers"]
            answer = names.index(text) if text in names else len(names)
            state.add(cell, answer)
            _append(wanted.log, {"cell": cell, "answer": answer, "text": text, "time": _now()})
            task.advance()
    return _result(model, baseline, wanted, state)


def groups_of(baseline: dict[str, Any]) -> list[list[Cell]]:
    """Return the cells of a baseline as each group of honest deployments answers them.

    Raises:
        InputError: it is broken.
    """
    try:
        temperature = float(baseline["temperature"])
        return [
            [_cell(cell["groups"][place], temperature) for cell in baseline["cells"]]
            for place in range(len(baseline["groups"]))
        ]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"the baseline is broken: {error!r}", hint=_ENROL) from error


def _cell(group: dict[str, Any], temperature: float) -> Cell:
    passes = np.array(group["passes"], dtype=np.float64)
    return cell_of(passes, np.array(group["ceilings"], dtype=np.float64), temperature)


def probe_of(cell: dict[str, Any]) -> Probe:
    """Return the question of a cell."""
    messages = tuple(Message(role=m["role"], content=m["content"]) for m in cell["messages"])
    return Probe(id=cell["probe"], category=cell["category"], messages=messages)


def _opened(
    model: Model, baseline: dict[str, Any], wanted: Watching
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the head and the answers of the log, which is begun where there is none."""
    seed = secrets.randbits(30) if wanted.seed is None else wanted.seed
    head = {
        "schema": LOG,
        "subject": model.ref.spec,
        "baseline": json_digest(baseline),
        "seed": seed,
    }
    if wanted.log is None:
        return head, []
    if not wanted.log.exists():
        _append(wanted.log, head)
        return head, []
    content = wanted.log.read_bytes()
    whole, _, torn = content.rpartition(b"\n")
    try:
        first, *lines = [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise InputError(
            f"{wanted.log} cannot be read: {error}", hint="give another --log"
        ) from error
    if any(first.get(key) != head[key] for key in ("schema", "subject", "baseline")):
        raise InputError(
            f"{wanted.log} is the log of another subject or baseline", hint="give another --log"
        )
    if torn:
        with storage_errors(wanted.log):
            os.truncate(wanted.log, len(whole) + 1)
    return first, lines


def _append(log: Path | None, line: dict[str, Any]) -> None:
    if log is None:
        return
    with storage_errors(log), log.open("ab") as stream:
        stream.write(canonical_json(line) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


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
