"""Which of the candidates a baseline keeps, and at which temperature they are asked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.enrolment.asking import Answered
from auditor.errors import InputError
from auditor.judge.cells import Group, best_in_turn, honest_noise, kind, names_of, scores
from auditor.types import Array, Probe

_FEWEST = 4
_LEAST_GROWTH = 0.005
"""Nats that a question worth asking adds."""
_LEAST_ROOM = 0.15
"""Headroom of such a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The questions of a baseline, and what is known of them from logits."""

    probes: list[Probe]
    """The best first."""
    temperature: float
    noise: float
    """Nats of log-odds between honest deployments, at that temperature."""
    passes: list[Answered]
    """Of the deployments whose logits were read."""
    copies: list[Answered]
    """Of coarser copies."""


def keys_of(passes: Sequence[Answered]) -> list[tuple[str, str | None]]:
    """Return the groups: a model and what is put before the question, in order of appearance."""
    return list(dict.fromkeys((one.deployment.spec, one.system) for one in passes))


def groups_of(
    passes: Sequence[Answered], copies: Sequence[Answered], index: int, place: int
) -> list[Group]:
    """Return the groups of a question at a temperature, in the order of `keys_of`.

    Copies belong to the groups of their system message whose probabilities are exact.
    """
    found = []
    for spec, system in keys_of(passes):
        own = [p for p in passes if (p.deployment.spec, p.system) == (spec, system)]
        exact = all(one.draws is None for one in own)
        found.append(
            Group(
                passes=[one.answers[index][place] for one in own],
                draws=[one.draws for one in own],
                copies=[c.answers[index][place] for c in copies if exact and c.system == system],
            )
        )
    return found


def nearly_tied(first: Sequence[Answered], count: int) -> list[int]:
    """Return the candidates whose second answer is likeliest, in every pass on average.

    Args:
        first: passes that read all candidates.
        count: most that are kept.
    """
    second = [
        np.mean([sorted((*one.answers[index][-1].values(), 0.0))[-2] for one in first])
        for index in range(len(first[0].answers))
    ]
    return sorted(np.argsort(-np.array(second), kind="stable")[:count].tolist())


def best_questions(
    probes: Sequence[Probe],
    passes: Sequence[Answered],
    copies: Sequence[Answered],
    temperatures: Sequence[float],
    count: int,
) -> Choice:
    """Return the questions that show a change best, at the temperature at which they do.

    Raises:
        InputError: there are too few of them.
    """
    best: tuple[float, int, float, list[int]] | None = None
    for place in range(len(temperatures)):
        noise = _noise(passes, place)
        found, kinds = _scores(passes, copies, place, noise)
        least = _LEAST_GROWTH if copies else _LEAST_ROOM
        kept = [i for i in best_in_turn(found, kinds, count) if found[i].max() >= least]
        # One nat and two are as good: few answers decide either way.
        total = float(np.minimum(found[kept].max(axis=1), 1.0).sum()) if kept else 0.0
        if best is None or total > best[0]:
            best = (total, place, noise, kept)
    if best is None or len(best[3]) < _FEWEST:
        raise InputError(
            f"only {len(best[3]) if best else 0} of {len(probes)} questions have answers that vary "
            "and that the deployments agree on",
            hint="give more --candidates, or another --temperature",
        )
    _, place, noise, kept = best
    return Choice(
        probes=[probes[index] for index in kept],
        temperature=temperatures[place],
        noise=noise,
        passes=[one.of(kept, place) for one in passes],
        copies=[one.of(kept, place) for one in copies],
    )


def _scores(
    passes: Sequence[Answered], copies: Sequence[Answered], place: int, noise: float
) -> tuple[Array, list[tuple[str, ...]]]:
    """Return (N, G) how well each question shows each change, and (N,) its kind."""
    rows, kinds = [], []
    for index in range(len(passes[0].answers)):
        groups = groups_of(passes, copies, index, place)
        names = names_of(groups)
        rows.append(scores(groups, names, noise))
        kinds.append(kind(groups[0]))
    return np.array(rows), kinds


def _noise(passes: Sequence[Answered], place: int) -> float:
    pairs = []
    for key in keys_of(passes):
        own = [p for p in passes if (p.deployment.spec, p.system) == key and p.draws is None]
        for other in own[1:]:
            rows = zip(own[0].answers, other.answers, strict=True)
            pairs += [(one[place], two[place]) for one, two in rows]
    return honest_noise(pairs)
