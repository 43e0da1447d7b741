"""What the deployments of a model answer to questions, exactly or by draws."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.collect.coarse_copies import Coarseness, coarsen
from auditor.collect.first_answers import drawn_answers, exact_answers, with_system
from auditor.models import identify, open_model
from auditor.models.base import Model
from auditor.progress import Progress
from auditor.types import Access, Probe

DTYPES = ("float32", "bfloat16")
"""Of a model at hand: two deployments of the same weights."""
SYSTEMS = (None, "You are a helpful assistant.")
"""Templates differ most in what they put before the question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model that is opened once and asked under every system message."""

    spec: str
    dtype: str | None
    exact: bool
    """Whether probabilities are read off logits."""
    coarse: Coarseness | None = None
    """Rounding of the weights: no honest deployment then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one deployment answers under one system message."""

    deployment: Deployment
    system: str | None
    draws: int | None
    answers: list[list[dict[str, float]]]
    """Of each probe, at each temperature, the probability of its answers."""

    def of(self, kept: Sequence[int], temperature: int | None = None) -> "Answered":
        """Return it for some of the probes, at the temperature of that place or at all."""
        place = slice(None) if temperature is None else slice(temperature, temperature + 1)
        rows = [self.answers[index][place] for index in kept]
        return Answered(
            deployment=self.deployment, system=self.system, draws=self.draws, answers=rows
        )

    def as_json(self) -> dict[str, Any]:
        """Return how the answers came about."""
        kept = self.deployment
        return {"spec": kept.spec, "dtype": kept.dtype, "system": self.system, "draws": self.draws}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How questions are asked."""

    temperatures: tuple[float, ...]
    draws: int
    seed: int
    device: str | None


def deployments(specs: Sequence[str]) -> list[Deployment]:
    """Return the deployments of models that hold the same weights."""
    found = []
    for spec in specs:
        exact = identify(spec).access >= Access.LOGITS
        for dtype in DTYPES if exact else (None,):
            found.append(Deployment(spec=spec, dtype=dtype, exact=exact))
    return found


def asked(
    kept: Sequence[Deployment],
    probes: Sequence[Probe],
    how: Asking,
    progress: Progress,
    title: str = "enrol",
) -> list[Answered]:
    """Return what every deployment answers to every probe under every system message.

    Raises:
        SubjectError, ServerError, MissingExtraError: a model cannot be opened or asked.
    """
    found = []
    with progress.task(title, len(kept) * len(SYSTEMS) * len(probes)) as task:
        for number, one in enumerate(kept):
            model = open_model(one.spec, device=how.device, dtype=one.dtype)
            if one.coarse is not None:
                coarsen(model, one.coarse)
            for place, system in enumerate(SYSTEMS):
                chats = [with_system(probe, system) for probe in probes]
                rows = []
                for row in _rows(model, one, chats, how, number * len(SYSTEMS) + place):
                    rows.append(row)
                    task.advance()
                draws = None if one.exact else how.draws
                found.append(Answered(deployment=one, system=system, draws=draws, answers=rows))
            model.close()
    return found


def _rows(
    model: Model, one: Deployment, chats: Sequence[Probe], how: Asking, number: int
) -> Iterator[list[dict[str, float]]]:
    if one.exact:
        yield from exact_answers(model, chats, how.temperatures)
        return
    (temperature,) = how.temperatures
    for texts in drawn_answers(model, chats, how.draws, temperature, how.seed + number):
        yield [{text: count / len(texts) for text, count in Counter(texts).items()}]
