"""Which of the candidates a baseline keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.enrolment.asking import Answered, Asking
from auditor.errors import InputError, ServerError
from auditor.judge.cells import (
    STEPS,
    Group,
    best_in_turn,
    cells_of,
    headroom,
    honest_margin,
    kind,
    least_gap,
    names_of,
    nearest_in_turn,
    table,
)
from auditor.types import Probe

FEWEST = 4
_LEAST_ROOM = 0.15
"""Headroom of a question worth asking, where answers are drawn."""


Key = tuple[str, str | None]
"""A group: a model, and the system message that is put before the question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The questions of a baseline, and what is known of them from logits."""

    probes: list[Probe]
    """The best first."""
    temperature: float
    margins: dict[Key, float]
    """Of each group whose logits were read, see `honest_margin`."""
    passes: list[Answered]
    """Of the deployments whose logits were read."""


def keys_of(passes: Sequence[Answered]) -> list[Key]:
    """Return the groups in order of appearance."""
    return list(dict.fromkeys((one.deployment.spec, one.system) for one in passes))


def groups_of(passes: Sequence[Answered], index: int) -> list[Group]:
    """Return the groups of a question, in the order of `keys_of`."""
    found = []
    for spec, system in keys_of(passes):
        own = [p for p in passes if (p.deployment.spec, p.system) == (spec, system)]
        rows, draws = [one.answers[index] for one in own], [one.draws[index] for one in own]
        found.append(Group(passes=rows, draws=draws))
    return found


def margins_of(passes: Sequence[Answered], temperature: float) -> dict[Key, float]:
    """Return the margin of each group among all questions of passes, see `honest_margin`."""
    rows = zip(*(groups_of(passes, index) for index in _places(passes)), strict=True)
    return {
        key: honest_margin(groups, temperature)
        for key, groups in zip(keys_of(passes), rows, strict=True)
    }


def near_ties(
    passes: Sequence[Answered], margins: Sequence[float], temperature: float, count: int
) -> list[int]:
    """Return the questions whose answers are nearest to a tie and yet hold still, the best first.

    Each group in turn names its own: what is tied under one system message is not under another.

    Args:
        passes: of every group.
        margins: (G,) nats, at temperature 1, that a gap has to be wider than.
        temperature: at which the answers are drawn.
        count: most that are kept.
    """
    rows = [groups_of(passes, index) for index in _places(passes)]
    gaps = np.array([[least_gap(group, temperature) for group in groups] for groups in rows])
    kinds = [[kind(group) for group in groups] for groups in rows]
    return nearest_in_turn(gaps, np.array(margins) + STEPS * temperature, kinds, count)


def tied_questions(
    probes: Sequence[Probe],
    passes: Sequence[Answered],
    margins: Mapping[str | None, float],
    how: Asking,
    count: int,
) -> Choice:
    """Return the near ties among questions whose logits were read.

    Args:
        probes: the questions.
        passes: of every group.
        margins: of each system message, what other questions showed; the larger counts.
        how: they were asked.
        count: most that are kept.

    Raises:
        InputError: there are too few of them.
    """
    own = margins_of(passes, how.temperature)
    wider = {key: max(margin, margins[key[1]]) for key, margin in own.items()}
    kept = near_ties(passes, list(wider.values()), how.temperature, count)
    _check(kept, probes)
    chosen, rows = [probes[index] for index in kept], [one.of(kept) for one in passes]
    return Choice(probes=chosen, temperature=how.temperature, margins=wider, passes=rows)


def varied_questions(
    probes: Sequence[Probe],
    scouted: Sequence[Answered],
    drawn: int,
    temperature: float,
    count: int,
) -> Choice:
    """Return questions whose drawn answers vary and are alike in every deployment.

    Draws that chose a question make it look steadier than it is, so none is kept. Nor is a question
    some of whose replies a server withheld: it would cost more replies than it gives answers.

    Args:
        probes: the candidates.
        scouted: of every group.
        drawn: replies to each candidate.
        temperature: at which they were drawn.
        count: most that are kept.

    Raises:
        InputError: there are too few of them.
        ServerError: too few were always answered.
    """
    whole = [i for i in _places(scouted) if all(one.draws[i] == drawn for one in scouted)]
    if len(whole) < FEWEST:
        raise ServerError(
            f"replies to {len(probes) - len(whole)} of {len(probes)} questions were filtered or "
            "refused",
            hint="find out what withholds them: these are no answers of the model",
        )
    probes, scouted = [probes[i] for i in whole], [one.of(whole) for one in scouted]
    rows = [groups_of(scouted, index) for index in _places(scouted)]
    rooms = np.array([_rooms(groups, temperature) for groups in rows])
    kinds = [[kind(group) for group in groups] for groups in rows]
    kept = [i for i in best_in_turn(rooms, kinds, count) if rooms[i].max() >= _LEAST_ROOM]
    _check(kept, probes)
    chosen = [probes[index] for index in kept]
    return Choice(probes=chosen, temperature=temperature, margins={}, passes=[])


def _places(passes: Sequence[Answered]) -> range:
    return range(len(passes[0].answers))


def _rooms(groups: Sequence[Group], temperature: float) -> list[float]:
    names = names_of(groups)
    cells = cells_of(groups, names, [0.0] * len(groups), temperature)
    rows = zip(groups, cells, strict=True)
    return [headroom(table(group.passes, names), cell.limits) for group, cell in rows]


def _check(kept: Sequence[int], probes: Sequence[Probe]) -> None:
    if len(kept) < FEWEST:
        raise InputError(
            f"only {len(kept)} of {len(probes)} questions have answers that a change would move "
            "and that the deployments agree on",
            hint="give more --candidates, or another --temperature",
        )
