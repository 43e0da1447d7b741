"""The search for questions whose two likeliest answers are nearly tied.

Most candidates are won by more than a nat, which no small change of a model overcomes. So those
that are nearest to a gap that deployments just leave as it is are edited, a word at a time, and the
nearest of all are edited again.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from auditor.collect.first_answers import exact_answers, with_system
from auditor.collect.short_questions import edited
from auditor.enrolment.asking import (
    SYSTEMS,
    Answered,
    Asking,
    Deployment,
    answered,
    asked,
    opened,
)
from auditor.enrolment.choice import Choice, tied_questions
from auditor.judge.cells import (
    STEPS,
    WINDOW,
    Group,
    best_in_turn,
    honest_margin,
    kind,
    least_gap,
    nearest_in_turn,
)
from auditor.models.base import Model
from auditor.progress import Progress
from auditor.types import Array, Probe

_ROUNDS, _EDITS = 6, 8
"""Most rounds of edits, and how many of each question."""
_POOL = 2
"""Near ties that all deployments are asked, for one that is kept."""


class _Search:
    """Questions under one system message, with how near their answers are to a tie."""

    def __init__(self, system: str | None, how: Asking) -> None:
        self.system, self.how = system, how
        self._probes: dict[str, Probe] = {}
        self._rows: dict[str, dict[str, float]] = {}

    def ask(self, model: Model, probes: Sequence[Probe]) -> None:
        """Read the answers to those that are new."""
        texts = {probe.messages[-1].content: probe for probe in probes}
        fresh = {text: probe for text, probe in texts.items() if text not in self._probes}
        chats = [with_system(probe, self.system) for probe in fresh.values()]
        rows = exact_answers(model, chats, self.how.temperature)
        self._rows.update(zip(fresh, rows, strict=True))
        self._probes.update(fresh)

    def around(self, gap: float, count: int) -> list[Probe]:
        """Return the questions nearest to a gap, of several kinds if possible."""
        places = best_in_turn(-abs(self._gaps() - gap)[:, None], self._kinds(), count)
        return self._at(places)

    def beyond(self, gap: float, count: int) -> list[Probe]:
        """Return the nearest ties of a wider gap, of several kinds if possible."""
        gaps = self._gaps()[:, None]
        return self._at(nearest_in_turn(gaps, np.array([gap]), self._kinds(), count))

    def count(self, gap: float) -> int:
        """Return how many lie within the window that begins at a gap."""
        gaps = self._gaps()
        return int(((gaps >= gap) & (gaps < gap + WINDOW)).sum())

    def margin(self, others: Sequence[Answered], probes: Sequence[Probe]) -> float:
        """Return the margin between what was read and what other deployments answer to `probes`."""
        own = [one for one in others if one.system == self.system]
        groups = [
            Group(
                passes=[self._rows[text], *(one.answers[place] for one in own)],
                draws=[None] * (1 + len(own)),
            )
            for place, probe in enumerate(probes)
            if (text := probe.messages[-1].content) in self._rows
        ]
        return honest_margin(groups, self.how.temperature)

    def _gaps(self) -> Array:
        return np.array([least_gap(group, self.how.temperature) for group in self._groups()])

    def _groups(self) -> list[Group]:
        return [Group(passes=[row], draws=[None]) for row in self._rows.values()]

    def _kinds(self) -> list[list[object]]:
        return [[kind(group)] for group in self._groups()]

    def _at(self, places: Sequence[int]) -> list[Probe]:
        probes = list(self._probes.values())
        return [probes[index] for index in places]


def tied(
    exact: Sequence[Deployment],
    probes: Sequence[Probe],
    how: Asking,
    count: int,
    progress: Progress,
) -> Choice:
    """Return near ties that hold still among deployments whose logits are at hand.

    Args:
        exact: the deployments; the first is searched.
        probes: candidates.
        how: they are asked.
        count: most that are kept.
        progress: shows the questions.

    Raises:
        InputError: there are too few.
        SubjectError, MissingExtraError: a model cannot be opened.
    """
    searches, share = [_Search(system, how) for system in SYSTEMS], -(-count // len(SYSTEMS))
    model = opened(exact[0], how)
    with progress.task("enrol", len(SYSTEMS)) as task:
        for search in searches:
            search.ask(model, probes)
            task.advance()
    model.close()
    nearest = _joined(search.around(0.0, _POOL * share) for search in searches)
    others = asked(exact[1:], nearest, how, progress, "other deployments")
    margins = {search.system: search.margin(others, nearest) for search in searches}
    pool, first = _edited(exact[0], searches, margins, share, progress)
    passes = [*first, *asked(exact[1:], pool, how, progress, "near ties")]
    return tied_questions(pool, passes, margins, how, count)


def _edited(
    one: Deployment,
    searches: Sequence[_Search],
    margins: Mapping[str | None, float],
    share: int,
    progress: Progress,
) -> tuple[list[Probe], list[Answered]]:
    """Edit questions until there are enough; return them, and what the first deployment answers."""
    how = searches[0].how
    draw = np.random.RandomState(how.seed)
    least = {system: margin + STEPS * how.temperature for system, margin in margins.items()}
    model = opened(one, how)
    with progress.task("edits", len(searches) * _ROUNDS) as task:
        for search in searches:
            for _ in range(_ROUNDS):
                task.advance()
                if search.count(least[search.system]) < _POOL * share:
                    near = search.around(least[search.system], share)
                    search.ask(model, [e for probe in near for e in edited(probe, _EDITS, draw)])
    pool = _joined(search.beyond(least[search.system], _POOL * share) for search in searches)
    with progress.task("first deployment", len(searches) * len(pool)) as task:
        first = answered(model, one, pool, how, task)
    model.close()
    return pool, first


def _joined(parts: Iterable[Sequence[Probe]]) -> list[Probe]:
    """Return all, each text once: edits under two system messages may be the same."""
    return list({p.messages[-1].content: p for part in parts for p in part}.values())
