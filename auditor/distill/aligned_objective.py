"""What a step minimises where the teacher has other tokens, at the spans that both spell."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from auditor.distill.aligned import READ
from auditor.distill.captured import STATES
from auditor.distill.objective import (
    Teacher,
    cross_entropy,
    live_head,
    mixing_weight,
    scored_states,
    teacher_states,
)
from auditor.distill.recipe_method import Method
from auditor.kernels.cross_vocabulary import Categories, chunked_total, matched_loss, uld_loss
from auditor.kernels.projection import Projection
from auditor.kernels.span_kl import span_gap_loss, span_logprobs, token_logprobs
from auditor.models.base import Head

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment:
    """How two models of different tokens are compared."""

    name: str
    """``matched-vocabulary``, ``span-kl`` or ``uld``."""
    categories: Categories | None
    """The common alphabet, for matched-vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sides:
    """Both models at the scored positions of a batch."""

    student: Projection
    """N targets, with gradients."""
    teacher: Projection
    """M tokens in spans."""


class AlignedObjective:
    """Callable ``(student, batch) -> sum of losses`` over spans; logits of one chunk at a time.

    ``matched-vocabulary`` and ``uld`` compare the two next-token distributions where a span
    starts, ``span-kl`` the log-probabilities of whole spans. Like every loss of a step, the sum is
    divided by the student's targets: one that no span starts at, or is in, adds nothing.
    """

    def __init__(self, method: Method, form: Head, teacher: Teacher, alignment: Alignment) -> None:
        self._method = method
        self._form = form
        self._teacher = teacher
        self._alignment = alignment

    def __call__(self, module: "PreTrainedModel", batch: dict[str, Any]) -> Tensor:
        """Return the sum over the batch, a scalar.

        In nats for matched-vocabulary; half squared nats for span-kl; probabilities for uld.
        """
        states = scored_states(module, batch)  # (N, Ds)
        labels = batch["targets"][batch["scored"]]  # (N,)
        with torch.autocast(states.device.type, enabled=False):
            alpha = self._method.alpha
            total = self.total(self.sides(module, states, batch), labels, batch) * (1.0 - alpha)
            if alpha > 0:
                total = total + cross_entropy(module, states, labels, self._form).total * alpha
            return total

    def sides(self, module: "PreTrainedModel", states: Tensor, batch: dict[str, Any]) -> Sides:
        """Return the student's states (N, Ds) with its live head, and the teacher's with its."""
        weight, bias = live_head(module, self._form.vocabulary)
        head = self._teacher.head
        read = {
            "input_ids": batch[READ],
            "scored": batch["teacher_scored"],
            "attention_mask": batch.get("teacher_attention_mask"),
        }
        if STATES in batch:
            read[STATES] = batch[STATES]
        return Sides(
            student=_projection(
                "s",
                states,
                Head(weight=weight, bias=bias, softcap=self._form.softcap, scale=self._form.scale),
            ),
            teacher=_projection("t", teacher_states(self._teacher, read), head),
        )

    def total(self, sides: Sides, labels: Tensor, batch: dict[str, Any]) -> Tensor:
        """Return the sum of the alignment's loss over the spans of a batch, a scalar."""
        method = self._method
        if self._alignment.name == "span-kl":
            own, other = self.span_pairs(sides, labels, batch)
            return span_gap_loss(own, other).sum()
        starts = batch["span_starts"]
        total = chunked_total(
            self._loss(), _picked(sides.student, starts[:, 0]), _picked(sides.teacher, starts[:, 1])
        )
        return total * method.temperature**2 if method.t_squared else total

    def _loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        method, categories = self._method, self._alignment.categories
        if categories is None:
            return partial(uld_loss, temperature=method.temperature)
        return partial(
            matched_loss,
            categories=categories,
            divergence=method.divergence,
            beta=mixing_weight(method),
            temperature=method.temperature,
        )

    def span_pairs(
        self, sides: Sides, labels: Tensor, batch: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """Return (G,) log-probabilities of the spans, the student's with gradients."""
        count = len(batch["span_starts"])
        own = span_logprobs(token_logprobs(sides.student, labels), batch["student_spans"], count)
        with torch.no_grad():
            wanted = batch["teacher_targets"].to(sides.teacher.hidden.device)
            said = token_logprobs(sides.teacher, wanted).to(own.device)
            other = span_logprobs(said, batch["teacher_spans"], count)
        return own, other


def _projection(name: str, states: Tensor, head: Head) -> Projection:
    return Projection(
        name=name,
        hidden=states,
        weight=head.weight.to(states.device),
        bias=None if head.bias is None else head.bias.to(states.device),
        softcap=head.softcap,
        scale=head.scale,
    )


def _picked(side: Projection, places: Tensor) -> Projection:
    """Return a projection at some of its positions."""
    return Projection(
        name=side.name,
        hidden=side.hidden[places.to(side.hidden.device)],
        weight=side.weight,
        bias=side.bias,
        softcap=side.softcap,
        scale=side.scale,
    )
