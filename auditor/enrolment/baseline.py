"""A baseline for `auditor watch`: questions whose answers hold still while nothing is changed.

Where logits are at hand, enrolment searches for near ties: questions whose two likeliest answers
lie little further apart than deployments of the model differ. Asked at a low temperature they hold
still, and a change of the weights turns some over. Of a server alone it draws answers, and keeps
questions where several are about as likely.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auditor.collect.coarse_copies import FORECAST
from auditor.collect.first_answers import DRAWN_TEMPERATURE, EXACT_TEMPERATURE
from auditor.collect.short_questions import candidates
from auditor.enrolment.asking import Answered, Asking, asked, deployments
from auditor.enrolment.choice import FEWEST, Choice, groups_of, keys_of, varied_questions
from auditor.enrolment.ties import tied
from auditor.errors import InputError, ServerError
from auditor.judge.betting import Cell
from auditor.judge.cells import Group, cells_of, names_of, table
from auditor.judge.watch_power import Answering, always, moved, power
from auditor.models import identify
from auditor.progress import Progress
from auditor.types import ModelRef, Probe

SCHEMA = "auditor/watch-baseline/3"
LOG10_ALARM = 2.0
"""Wealth of 100: an honest deployment gets there in 1 of 100 watches at most, however long."""
QUERIES = 150
_MOVED = (0.2, 0.5, 1.0)
_CANDIDATES, _CELLS, _DRAWS = (120, 400), (16, 64), (200, 60)
"""Questions to choose from, those that are kept, and draws of each where no logits are shown: where
there are none at all, and where another deployment of the same weights shows them. These questions
need fewer draws, because their answers hold still."""
_AGAIN = 1000
"""Added to the seed of draws that follow others of the same questions."""
_SCOUTED = 24
"""Draws of each candidate where no logits are shown."""
_FEWEST_DRAWS = 30
_SEEDS = 2**31
"""Seeds are below it: numbers are added to them, and draws take 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolling:
    """A baseline as a person asks for it."""

    spec: str
    also: tuple[str, ...] = ()
    """Other deployments of the same weights."""
    candidates: int | None = None
    cells: int | None = None
    draws: int | None = None
    """Of each question and pass, where no logits are shown."""
    temperature: float | None = None
    """None: `EXACT_TEMPERATURE` where logits are at hand, else `DRAWN_TEMPERATURE`."""
    seed: int = 0
    device: str | None = None
    target: Path | None = None
    """Where the baseline is to be written; the replies of servers are kept beside it, see
    `kept_replies`. None: they are not kept."""

    @property
    def specs(self) -> tuple[str, ...]:
        """The subject and the other deployments."""
        return (self.spec, *self.also)


def enrol(wanted: Enrolling, progress: Progress) -> dict[str, Any]:
    """Return a baseline, of schema auditor/watch-baseline/3.

    Raises:
        InputError: numbers that cannot be, or too few questions would show a change.
        AccessError: one is a recording.
        SubjectError, ServerError, MissingExtraError: a model cannot be opened or asked, or a
            server withholds its replies.
    """
    kept = deployments(wanted.specs)
    exact = [one for one in kept if one.exact]
    size = _size(wanted, bool(exact))
    probes = candidates(size.candidates, wanted.seed)
    temperature = EXACT_TEMPERATURE if exact else DRAWN_TEMPERATURE
    how = Asking(
        temperature=temperature if wanted.temperature is None else wanted.temperature,
        draws=size.draws,
        seed=wanted.seed,
        device=wanted.device,
        target=wanted.target,
    )
    if exact:
        choice = tied(exact, probes, how, size.cells, progress)
    else:
        scouted = asked(kept, probes, dataclasses.replace(how, draws=_SCOUTED), progress)
        choice = varied_questions(probes, scouted, _SCOUTED, how.temperature, size.cells)
    # Draws that chose a question would make it look steadier than it is: draw anew.
    drawn = [one for one in kept if not one.exact]
    again = dataclasses.replace(how, seed=how.seed + _AGAIN)
    passes = [*choice.passes, *asked(drawn, choice.probes, again, progress, "enrol again")]
    _check_answered(passes)
    order = {spec: place for place, spec in enumerate(wanted.specs)}
    passes.sort(key=lambda one: order[one.deployment.spec])  # the subject's own come first
    questions = [_question(choice, passes, index) for index in range(len(choice.probes))]
    coarse = [dataclasses.replace(one, coarse=FORECAST) for one in exact[:1]]
    copies = asked(coarse, choice.probes, how, progress, "forecast")
    return _baseline(wanted, choice, passes, questions, _power(questions, copies))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    candidates: int
    cells: int
    draws: int


def _size(wanted: Enrolling, exact: bool) -> _Size:
    """Return how much is asked, the defaults filled in.

    Raises:
        InputError: numbers that cannot be.
    """
    count = _CANDIDATES[exact] if wanted.candidates is None else wanted.candidates
    cells = min(_CELLS[exact], count) if wanted.cells is None else wanted.cells
    draws = _DRAWS[exact] if wanted.draws is None else wanted.draws
    if wanted.temperature is not None and not 0.0 < wanted.temperature <= 2.0:
        raise InputError(f"a temperature of {wanted.temperature}", hint="above 0, at most 2")
    if cells < FEWEST:
        raise InputError(f"{cells} questions", hint=f"at least {FEWEST} --cells")
    if draws < _FEWEST_DRAWS:
        raise InputError(f"{draws} draws of a question", hint=f"at least {_FEWEST_DRAWS}")
    if not 0 <= wanted.seed < _SEEDS:
        raise InputError(f"a seed of {wanted.seed}", hint=f"from 0 to {_SEEDS - 1}")
    if count < cells:
        raise InputError(
            f"{cells} questions of {count} candidates",
            hint="give more --candidates, or fewer --cells",
        )
    return _Size(candidates=count, cells=cells, draws=draws)


def _check_answered(passes: Sequence[Answered]) -> None:
    for one in passes:
        if one.fewest is not None and one.fewest < _FEWEST_DRAWS:
            raise ServerError(
                f"{one.deployment.spec} gave only {one.fewest} answers to a question; other "
                "replies were filtered or refused",
                hint=f"at least {_FEWEST_DRAWS} are needed: find out what withholds them, or give "
                "more --draws",
            )


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
                }
                for group, cell in zip(self.groups, self.cells, strict=True)
            ],
        }


def _question(choice: Choice, passes: Sequence[Answered], index: int) -> _Question:
    groups = groups_of(passes, index)
    names = names_of(groups)
    margins = [choice.margins.get(key, 0.0) for key in keys_of(passes)]
    cells = cells_of(groups, names, margins, choice.temperature)
    return _Question(probe=choice.probes[index], names=names, groups=groups, cells=cells)


def _baseline(
    wanted: Enrolling,
    choice: Choice,
    passes: Sequence[Answered],
    questions: Sequence[_Question],
    forecast: list[dict[str, Any]],
) -> dict[str, Any]:
    ref, others = identify(wanted.spec), [identify(spec) for spec in wanted.also]
    notes = _other_weights(ref, others)
    return {
        "schema": SCHEMA,
        "spec": ref.spec,
        "digest": ref.digest,
        **({"warnings": notes} if notes else {}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "temperature": choice.temperature,
        "groups": [
            {
                "spec": key[0],
                "system": key[1],
                "margin": choice.margins.get(key, 0.0),
                "passes": [
                    one.as_json() for one in passes if (one.deployment.spec, one.system) == key
                ],
            }
            for key in keys_of(passes)
        ],
        "cells": [question.as_json() for question in questions],
        "power": forecast,
    }


def _other_weights(ref: ModelRef, others: Sequence[ModelRef]) -> list[str]:
    """Return warnings of --also models whose weights are known not to be the subject's."""
    return [
        f"{other.spec} has other weights than {ref.spec}: a watch calls both unchanged, so a swap "
        "of one for the other is not seen. Right where it is the same model in another form, as a "
        "GGUF file is."
        for other in others
        if ref.digest is not None and other.digest not in (None, ref.digest)
    ]


def _power(questions: Sequence[_Question], copies: Sequence[Answered]) -> list[dict[str, Any]]:
    """Return how soon a coarser copy and changes of given sizes would be seen."""
    groups = [list(cells) for cells in zip(*(one.cells for one in questions), strict=True)]
    changes: list[tuple[str, Answering]] = []
    for copy in copies[:1]:  # without a system message, as the watch asks
        rows = [
            table([row], one.names)[0] for row, one in zip(copy.answers, questions, strict=True)
        ]
        changes.append((f"weights rounded to {FORECAST}", always(rows)))
    for share in _MOVED:
        name = f"{share:.0%} of the answers of every question"
        changes.append((name, moved(groups[0], share)))
    found = []
    for change, answering in changes:
        seen = power(groups, answering, log10_alarm=LOG10_ALARM, queries=QUERIES)
        found.append({"change": change, "share": seen.share, "queries": seen.queries})
    return found
