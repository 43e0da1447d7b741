"""A baseline for `auditor watch`: questions whose answers hold still while nothing is changed.

Enrolment asks for the first token of many questions under every deployment of the model that is at
hand, and keeps those where several answers are about as likely and the deployments agree.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from auditor.collect.first_answers import (
    TEMPERATURE,
    drawn_answers,
    exact_answers,
    shows_logits,
    with_system,
)
from auditor.collect.suite import load_suite
from auditor.errors import InputError
from auditor.judge.betting import ceilings, headroom, power
from auditor.models import identify, open_model
from auditor.progress import Progress
from auditor.types import Access, Array, Probe

SCHEMA = "auditor/watch-baseline/1"
SUITES = ("choices", "borderline", "instructions", "reasoning")
"""Whose chats are candidates."""
SYSTEMS = (None, "You are a helpful assistant.")
"""Templates differ most in what they put before the question."""
DTYPES = ("float32", "bfloat16")
"""Of a model at hand: two deployments of the same weights."""
FEWEST_CELLS = 4
LOG10_ALARM = 2.0
"""Wealth of 100: an honest deployment gets there in 1 of 100 watches at most, however long."""
QUERIES = 150
_MOVED = (0.2, 0.5, 1.0)
_LIKELY = 0.02
_NAMED = 6
"""Answers of a cell that are told apart; all others count as one."""
_SCOUTED = 24
"""Draws of each candidate where no logits are shown."""
_LEAST_ROOM = 0.15
"""Headroom of a question that is worth asking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolling:
    """A baseline as a person asks for it."""

    spec: str
    also: tuple[str, ...] = ()
    """Other deployments of the same weights."""
    candidates: int = 120
    cells: int = 12
    draws: int = 200
    """Of each question and pass, where no logits are shown."""
    temperature: float = TEMPERATURE
    seed: int = 0
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deployment:
    """A model that is opened once and asked under every system message."""

    spec: str
    dtype: str | None
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """What one deployment answers under one system message."""

    deployment: _Deployment
    system: str | None
    draws: int | None
    answers: list[dict[str, float]]
    """Of each probe, the probability of its answers; what is missing to 1 is any other."""

    def as_json(self) -> dict[str, Any]:
        kept = self.deployment
        return {"spec": kept.spec, "dtype": kept.dtype, "system": self.system, "draws": self.draws}


def enrol(wanted: Enrolling, progress: Progress) -> dict[str, Any]:
    """Return a baseline, of schema auditor/watch-baseline/1.

    Raises:
        InputError: numbers that cannot be, or too few questions would show a change.
        SubjectError, ServerError, MissingExtraError: a model cannot be opened or asked.
    """
    _check(wanted)
    candidates = _candidates(wanted)
    deployments = list(_deployments(wanted))
    scouted = _asked(wanted, deployments, candidates, _SCOUTED, progress)
    chosen = _chosen(wanted, scouted)
    probes = [candidates[index] for index in chosen]
    # Draws that chose a question would make it look steadier than it is: draw anew.
    drawn = [kept for kept in deployments if not kept.exact]
    final = [_of_chosen(found, chosen) for found in scouted if found.deployment.exact]
    final += _asked(wanted, drawn, probes, wanted.draws, progress, again=True)
    cells = [_cell(probe, [p.answers[i] for p in final], final) for i, probe in enumerate(probes)]
    ref = identify(wanted.spec)
    return {
        "schema": SCHEMA,
        "spec": ref.spec,
        "digest": ref.digest,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "temperature": wanted.temperature,
        "passes": [found.as_json() for found in final],
        "cells": cells,
        "power": _power(cells),
    }


def _check(wanted: Enrolling) -> None:
    if not 0.0 < wanted.temperature <= 2.0:
        raise InputError(f"a temperature of {wanted.temperature}", hint="above 0, at most 2")
    if wanted.cells < FEWEST_CELLS or wanted.candidates < wanted.cells:
        raise InputError(
            f"{wanted.cells} questions of {wanted.candidates} candidates",
            hint=f"at least {FEWEST_CELLS} questions, and no fewer candidates",
        )
    if wanted.draws < 30:
        raise InputError(f"{wanted.draws} draws of a question", hint="at least 30")


def _candidates(wanted: Enrolling) -> list[Probe]:
    """Return chats of the shipped suites, drawn by the seed."""
    chats = [p for name in SUITES for p in load_suite(name).probes if p.kind == "chat"]
    order = np.random.RandomState(wanted.seed).permutation(len(chats))[: wanted.candidates]
    return [chats[index] for index in sorted(order.tolist())]


def _deployments(wanted: Enrolling) -> Iterator[_Deployment]:
    for spec in (wanted.spec, *wanted.also):
        exact = identify(spec).access >= Access.LOGITS
        for dtype in DTYPES if exact else (None,):
            yield _Deployment(spec=spec, dtype=dtype, exact=exact)


def _asked(
    wanted: Enrolling,
    deployments: Sequence[_Deployment],
    probes: Sequence[Probe],
    draws: int,
    progress: Progress,
    *,
    again: bool = False,
) -> list[_Pass]:
    """Return what every deployment answers to every probe under every system message."""
    found = []
    total = len(deployments) * len(SYSTEMS) * len(probes)
    with progress.task("enrol again" if again else "enrol", total) as task:
        for number, kept in enumerate(deployments):
            model = open_model(kept.spec, device=wanted.device, dtype=kept.dtype)
            for place, system in enumerate(SYSTEMS):
                asked = [with_system(probe, system) for probe in probes]
                answers: list[dict[str, float]] = []
                if shows_logits(model):
                    rows = exact_answers(model, asked, wanted.temperature)
                else:
                    seed = wanted.seed + 2 * (number * len(SYSTEMS) + place) + again
                    lists = drawn_answers(model, asked, draws, wanted.temperature, seed)
                    rows = (_counted(one) for one in lists)
                for row in rows:
                    answers.append(row)
                    task.advance()
                count = None if kept.exact else draws
                found.append(_Pass(deployment=kept, system=system, draws=count, answers=answers))
            model.close()
    return found


def _counted(answers: Sequence[str]) -> dict[str, float]:
    return {text: count / len(answers) for text, count in Counter(answers).items()}


def _chosen(wanted: Enrolling, scouted: Sequence[_Pass]) -> list[int]:
    """Return the candidates that would show a change best.

    Raises:
        InputError: there are too few of them.
    """
    rooms = []
    for index in range(len(scouted[0].answers)):
        rows = [found.answers[index] for found in scouted]
        passes = _table(rows, _names(rows))
        rooms.append(headroom(passes, ceilings(passes, [None] * len(passes))))
    best = np.argsort(-np.array(rooms), kind="stable")[: wanted.cells].tolist()
    kept = [index for index in best if rooms[index] >= _LEAST_ROOM]
    if len(kept) < FEWEST_CELLS:
        raise InputError(
            f"only {len(kept)} of {wanted.candidates} questions have answers that vary and that "
            "the deployments agree on",
            hint="give more --candidates, or a higher --temperature",
        )
    return sorted(kept)


def _names(rows: Sequence[dict[str, float]]) -> list[str]:
    """Return the likely answers over all passes, the likeliest first."""
    mean: dict[str, float] = {}
    for row in rows:
        for text, share in row.items():
            mean[text] = mean.get(text, 0.0) + share / len(rows)
    likely = sorted((text for text in mean if mean[text] >= _LIKELY), key=lambda t: (-mean[t], t))
    return likely[:_NAMED]


def _table(rows: Sequence[dict[str, float]], names: Sequence[str]) -> Array:
    """Return (M, K + 1) probabilities of the named answers and of any other."""
    table = np.array([[row.get(name, 0.0) for name in names] for row in rows]).reshape(
        len(rows), -1
    )
    return np.column_stack([table, np.maximum(0.0, 1.0 - table.sum(axis=1))])


def _of_chosen(found: _Pass, chosen: Sequence[int]) -> _Pass:
    return _Pass(
        deployment=found.deployment,
        system=found.system,
        draws=found.draws,
        answers=[found.answers[index] for index in chosen],
    )


def _cell(
    probe: Probe, rows: Sequence[dict[str, float]], passes: Sequence[_Pass]
) -> dict[str, Any]:
    names = _names(rows)
    table = _table(rows, names)
    table /= table.sum(axis=1, keepdims=True)  # rounding
    limits = ceilings(table, [found.draws for found in passes])
    return {
        "probe": probe.id,
        "category": probe.category,
        "messages": [{"role": m.role, "content": m.content} for m in probe.messages],
        "answers": names,
        "passes": table.tolist(),
        "ceilings": limits.tolist(),
    }


def _power(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    usual = [np.array(cell["passes"]).mean(axis=0) for cell in cells]
    limits = [np.array(cell["ceilings"]) for cell in cells]
    found = (
        power(usual, limits, moved, log10_alarm=LOG10_ALARM, queries=QUERIES) for moved in _MOVED
    )
    return [{"moved": s.moved, "share": s.share, "queries": s.queries} for s in found]
