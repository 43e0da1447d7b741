"""What the deployments of a model answer to questions, exactly or by draws."""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.collect.coarse_copies import Coarseness, coarsen
from auditor.collect.first_answers import check_draws, drawn_answers, exact_answers, with_system
from auditor.enrolment.kept_replies import replies_path
from auditor.models import identify, open_model, parse
from auditor.models.base import Model
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_server import open_server
from auditor.progress import Progress, Task
from auditor.types import Access, Probe

RUNNING = (("float32", None), ("bfloat16", None), ("bfloat16", "eager"))
"""Number type and attention of the deployments of a model at hand; None: what it comes with. Its
gaps in bfloat16 differ most, and from one attention to another nearly as much."""
SYSTEMS = (None, "You are a helpful assistant.")
"""Templates differ most in what they put before the question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model that is opened once and asked under every system message."""

    spec: str
    dtype: str | None
    attention: str | None
    exact: bool
    """Whether probabilities are read off logits."""
    coarse: Coarseness | None = None
    """Rounding of the weights: no honest deployment then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one deployment answers under one system message."""

    deployment: Deployment
    system: str | None
    answers: list[dict[str, float]]
    """Of each probe, the probability of its answers; empty where a server gave none."""
    draws: list[int | None]
    """Of each probe, how many answers they are counted from; None: exact."""

    def of(self, kept: Sequence[int]) -> "Answered":
        """Return it for some of the probes."""
        return dataclasses.replace(
            self,
            answers=[self.answers[index] for index in kept],
            draws=[self.draws[index] for index in kept],
        )

    @property
    def fewest(self) -> int | None:
        """The fewest answers to a probe; None: exact."""
        return min((count for count in self.draws if count is not None), default=None)

    def as_json(self) -> dict[str, Any]:
        """Return how the answers came about."""
        kept = self.deployment
        return {"dtype": kept.dtype, "attention": kept.attention, "draws": self.fewest}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How questions are asked."""

    temperature: float
    draws: int
    seed: int
    device: str | None
    target: Path | None = None
    """The baseline, beside which the replies of servers are kept; None: they are not."""


def deployments(specs: Sequence[str]) -> list[Deployment]:
    """Return the deployments of models that hold the same weights.

    Raises:
        AccessError: one is a recording, which answers nothing anew.
        SubjectError, MissingExtraError: one cannot be found.
    """
    found = []
    for spec in specs:
        check_draws(spec)
        exact = identify(spec).access >= Access.LOGITS
        for dtype, attention in RUNNING if exact else ((None, None),):
            found.append(Deployment(spec=spec, dtype=dtype, attention=attention, exact=exact))
    return found


def opened(one: Deployment, how: Asking) -> Model:
    """Return the model, running as the deployment does.

    Raises:
        SubjectError, ServerError, MissingExtraError: it cannot be opened.
    """
    parsed = parse(one.spec)
    if parsed.scheme == "openai" and how.target is not None:
        return open_server(parsed, log=ExchangeLog(replies_path(how.target, one.spec)))
    model = open_model(one.spec, device=how.device, dtype=one.dtype)
    if one.attention is not None:
        from auditor.models.transformers_model import TransformersModel

        if isinstance(model, TransformersModel):
            model.module.set_attn_implementation(one.attention)
    if one.coarse is not None:
        coarsen(model, one.coarse)
    return model


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
            model = opened(one, how)
            again = dataclasses.replace(how, seed=how.seed + number * len(SYSTEMS))
            with contextlib.closing(model):
                found += answered(model, one, probes, again, task)
    return found


def answered(
    model: Model, one: Deployment, probes: Sequence[Probe], how: Asking, task: Task
) -> list[Answered]:
    """Return what an opened deployment answers to every probe, under each system message."""
    found = []
    for place, system in enumerate(SYSTEMS):
        chats = [with_system(probe, system) for probe in probes]
        rows, draws = [], []
        for row, count in _rows(model, one, chats, how, place):
            rows.append(row)
            draws.append(count)
            task.advance()
        found.append(Answered(deployment=one, system=system, answers=rows, draws=draws))
    return found


def _rows(
    model: Model, one: Deployment, chats: Sequence[Probe], how: Asking, number: int
) -> Iterator[tuple[dict[str, float], int | None]]:
    if one.exact:
        for row in exact_answers(model, chats, how.temperature):
            yield row, None
        return
    for texts in drawn_answers(model, chats, how.draws, how.temperature, how.seed + number):
        yield {text: count / len(texts) for text, count in Counter(texts).items()}, len(texts)
