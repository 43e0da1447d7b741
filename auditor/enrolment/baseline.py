"""A baseline for `auditor watch`: questions whose answers hold still while nothing is changed.

Where logits are at hand, enrolment reads the first token of many questions under several
deployments of the model, rounds copies of it to fewer bits, and keeps the questions and the
temperature whose answers would show such a copy soonest. Of a server alone it draws answers, and
keeps questions where several are about as likely.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from auditor.collect.coarse_copies import HELD_OUT, LEARNED, Coarseness
from auditor.collect.first_answers import TEMPERATURE, TEMPERATURES
from auditor.collect.short_questions import candidates
from auditor.enrolment.asking import Answered, Asking, Deployment, asked, deployments
from auditor.enrolment.choice import Choice, best_questions, groups_of, keys_of, nearly_tied
from auditor.errors import InputError
from auditor.judge.betting import Cell
from auditor.judge.cells import Group, cells_of, names_of, table
from auditor.judge.watch_power import Answering, always, moved, power
from auditor.models import identify
from auditor.progress import Progress
from auditor.types import Probe

SCHEMA = "auditor/watch-baseline/2"
FEWEST_CELLS = 4
LOG10_ALARM = 2.0
"""Wealth of 100: an honest deployment gets there in 1 of 100 watches at most, however long."""
QUERIES = 150
_MOVED = (0.2, 0.5, 1.0)
_CANDIDATES = (120, 400)
"""Questions to choose from, where answers are drawn and where logits are at hand."""
_AGAIN = 1000
"""Added to the seed of draws that follow others of the same questions."""
_SCOUTED = 24
"""Draws of each candidate where no logits are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolling:
    """A baseline as a person asks for it."""

    spec: str
    also: tuple[str, ...] = ()
    """Other deployments of the same weights."""
    candidates: int | None = None
    cells: int = 16
    draws: int = 200
    """Of each question and pass, where no logits are shown."""
    temperature: float | None = None
    """None: the one of `TEMPERATURES` that shows a change best."""
    seed: int = 0
    device: str | None = None

    @property
    def specs(self) -> tuple[str, ...]:
        """The subject and the other deployments."""
        return (self.spec, *self.also)


def enrol(wanted: Enrolling, progress: Progress) -> dict[str, Any]:
    """Return a baseline, of schema auditor/watch-baseline/2.

    Raises:
        InputError: numbers that cannot be, or too few questions would show a change.
        SubjectError, ServerError, MissingExtraError: a model cannot be opened or asked.
    """
    _check(wanted)
    kept = deployments(wanted.specs)
    exact = [one for one in kept if one.exact]
    probes = candidates(_count(wanted, bool(exact)), wanted.seed)
    if len(probes) < wanted.cells:
        raise InputError(
            f"{wanted.cells} questions of {len(probes)} candidates",
            hint="give more --candidates, or fewer --cells",
        )
    found = _by_logits if exact else _by_draws
    choice = found(wanted, exact or kept, probes, progress)
    # Draws that chose a question would make it look steadier than it is: draw anew.
    drawn = [one for one in kept if not one.exact]
    how = _asking(wanted, (choice.temperature,), wanted.draws, _AGAIN)
    passes = [*choice.passes, *asked(drawn, choice.probes, how, progress, "enrol again")]
    order = {spec: place for place, spec in enumerate(wanted.specs)}
    passes.sort(key=lambda one: order[one.deployment.spec])  # the subject's own come first
    questions = [_question(choice, passes, index) for index in range(len(choice.probes))]
    held_out = _held_out(wanted, exact[:1], choice, progress)
    return _baseline(wanted, choice, passes, questions, _power(questions, held_out))


def _check(wanted: Enrolling) -> None:
    if wanted.temperature is not None and not 0.0 < wanted.temperature <= 2.0:
        raise InputError(f"a temperature of {wanted.temperature}", hint="above 0, at most 2")
    if wanted.cells < FEWEST_CELLS:
        raise InputError(f"{wanted.cells} questions", hint=f"at least {FEWEST_CELLS} --cells")
    if wanted.draws < 30:
        raise InputError(f"{wanted.draws} draws of a question", hint="at least 30")


def _count(wanted: Enrolling, exact: bool) -> int:
    return _CANDIDATES[exact] if wanted.candidates is None else wanted.candidates


def _asking(
    wanted: Enrolling, temperatures: tuple[float, ...], draws: int, seed: int = 0
) -> Asking:
    return Asking(
        temperatures=temperatures, draws=draws, seed=wanted.seed + seed, device=wanted.device
    )


def _by_logits(
    wanted: Enrolling, exact: Sequence[Deployment], probes: Sequence[Probe], progress: Progress
) -> Choice:
    """Return questions near a tie that copies of fewer bits answer otherwise."""
    temperatures = TEMPERATURES if wanted.temperature is None else (wanted.temperature,)
    how = _asking(wanted, temperatures, 1)
    # All candidates once: most are no near tie, and need not be read by the other deployments.
    first = asked(exact[:1], probes, how, progress)
    tied = nearly_tied(first, max(8 * wanted.cells, len(probes) // 4))
    near = [probes[index] for index in tied]
    passes = [one.of(tied) for one in first]
    passes += asked(exact[1:], near, how, progress, "other deployments")
    coarse = [_coarse(exact[0], steps) for steps in LEARNED]
    copies = asked(coarse, near, how, progress, "coarser copies")
    return best_questions(near, passes, copies, temperatures, wanted.cells)


def _coarse(one: Deployment, steps: Coarseness) -> Deployment:
    return Deployment(spec=one.spec, dtype=one.dtype, exact=True, coarse=steps)


def _by_draws(
    wanted: Enrolling, kept: Sequence[Deployment], probes: Sequence[Probe], progress: Progress
) -> Choice:
    """Return questions whose few drawn answers vary and are alike in every deployment."""
    temperature = TEMPERATURE if wanted.temperature is None else wanted.temperature
    scouted = asked(kept, probes, _asking(wanted, (temperature,), _SCOUTED), progress)
    choice = best_questions(probes, scouted, [], (temperature,), wanted.cells)
    return Choice(probes=choice.probes, temperature=temperature, noise=0.0, passes=[], copies=[])


def _held_out(
    wanted: Enrolling, exact: Sequence[Deployment], choice: Choice, progress: Progress
) -> list[Answered]:
    """Return what a copy answers that nothing was chosen by."""
    coarse = [_coarse(one, HELD_OUT) for one in exact]
    how = _asking(wanted, (choice.temperature,), 1)
    return asked(coarse, choice.probes, how, progress, "forecast")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """A question with what each group answers to it."""

    probe: Probe
    names: list[str]
    groups: list[Group]
    cells: list[Cell]
    """(G,) of each group."""

    def as_json(self) -> dict[str, Any]:
        return {
            "probe": self.probe.id,
            "category": self.probe.category,
            "messages": [{"role": m.role, "content": m.content} for m in self.probe.messages],
            "answers": self.names,
            "groups": [
                {
                    "passes": table(group.passes, self.names).tolist(),
                    "ceilings": cell.limits.tolist(),
                    "changed": cell.changed.tolist(),
                    "weights": cell.weights.tolist(),
                }
                for group, cell in zip(self.groups, self.cells, strict=True)
            ],
        }


def _question(choice: Choice, passes: Sequence[Answered], index: int) -> _Question:
    groups = groups_of(passes, choice.copies, index, 0)
    names = names_of(groups)
    cells = cells_of(groups, names, choice.noise)
    return _Question(probe=choice.probes[index], names=names, groups=groups, cells=cells)


def _baseline(
    wanted: Enrolling,
    choice: Choice,
    passes: Sequence[Answered],
    questions: Sequence[_Question],
    forecast: list[dict[str, Any]],
) -> dict[str, Any]:
    ref = identify(wanted.spec)
    return {
        "schema": SCHEMA,
        "spec": ref.spec,
        "digest": ref.digest,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "temperature": choice.temperature,
        "noise": choice.noise,
        "groups": [
            {
                "spec": key[0],
                "system": key[1],
                "passes": [
                    {"dtype": one.deployment.dtype, "draws": one.draws}
                    for one in passes
                    if (one.deployment.spec, one.system) == key
                ],
            }
            for key in keys_of(passes)
        ],
        "cells": [question.as_json() for question in questions],
        "power": forecast,
    }


def _power(questions: Sequence[_Question], held_out: Sequence[Answered]) -> list[dict[str, Any]]:
    """Return how soon a coarser copy and changes of given sizes would be seen."""
    groups = [list(cells) for cells in zip(*(one.cells for one in questions), strict=True)]
    changes: list[tuple[str, Answering]] = []
    for copy in held_out[:1]:  # without a system message, as the watch asks
        rows = [
            table([row[0]], one.names)[0] for row, one in zip(copy.answers, questions, strict=True)
        ]
        changes.append((f"weights rounded to {HELD_OUT}", always(rows)))
    for share in _MOVED:
        name = f"{share:.0%} of the answers of every question"
        changes.append((name, moved(groups[0], share)))
    found = []
    for change, answering in changes:
        seen = power(groups, answering, log10_alarm=LOG10_ALARM, queries=QUERIES)
        found.append({"change": change, "share": seen.share, "queries": seen.queries})
    return found
