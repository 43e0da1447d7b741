"""How close the student is to the teacher on the held-out part, and how well it predicts text."""

from typing import TYPE_CHECKING, Any

import torch

from auditor.canon import finite
from auditor.distill.batches import padded_batch
from auditor.distill.objective import (
    Teacher,
    cross_entropy,
    live_head,
    scored_states,
    teacher_states,
)
from auditor.distill.sequences import Sequences
from auditor.kernels import Agreement, linear_agreement
from auditor.models.base import Head
from auditor.models.batching import plan_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from auditor.distill.captured import CapturedTeacher

_SMALLEST_GAP = 0.01
"""Nats a token; a share of less than this is a share of noise."""


class Holdout:
    """The held-out sequences, with the teacher's states on them kept after the first pass."""

    def __init__(
        self,
        store: Sequences,
        *,
        form: Head,
        teacher: Teacher | None,
        captured: "CapturedTeacher | None" = None,
        batch_tokens: int,
    ) -> None:
        self._store = store
        self._captured = captured
        self._form = form
        self._teacher = teacher
        # 2 * N * Dt bytes or so for a few thousand positions: far less than a second forward pass.
        self._teacher_states: list[torch.Tensor] = []
        self._batches = plan_batches([int(n) for n in store.lengths], batch_tokens)

    @property
    def positions(self) -> int:
        """Number of targets that are measured."""
        return int(self._store.targets.sum())

    def measure(self, module: "PreTrainedModel") -> dict[str, float | None]:
        """Return means over the held-out targets; the student keeps its mode and its gradients.

        ``loss``: cross-entropy of the student, nats a token; ``kl``: KL(teacher || student), nats
        a token; ``top1``: share of positions where both prefer the same token; ``teacher_loss``:
        the teacher's cross-entropy. The last three are None without a teacher's distribution to
        compare with, and `kl` where a token that the teacher allows is impossible for the student.
        """
        training = module.training
        module.train(False)
        try:
            with torch.no_grad():
                parts = [
                    self._measured(module, number, members)
                    for number, members in enumerate(self._batches)
                ]
        finally:
            module.train(training)
        means = {
            name: torch.cat([part[name] for part in parts]).double().mean() for name in parts[0]
        }
        found = {
            name: finite(float(mean)) if torch.isfinite(mean) else None
            for name, mean in means.items()
        }
        return {"kl": None, "top1": None, "teacher_loss": None, **found}

    def _measured(
        self, module: "PreTrainedModel", number: int, members: list[int]
    ) -> dict[str, torch.Tensor]:
        batch: dict[str, Any] = {
            name: value.to(module.device)
            for name, value in padded_batch(self._store, members).items()
        }
        states = scored_states(module, batch)
        labels = batch["targets"][batch["scored"]]
        if self._teacher is None:
            return {"loss": cross_entropy(module, states, labels, self._form).per_token}
        if len(self._teacher_states) == number:
            if self._captured is not None:
                batch.update(self._captured.batch(members))
            self._teacher_states.append(teacher_states(self._teacher, batch))
        agreed = self._agreement(module, states, labels, self._teacher_states[number])
        logps = {"loss": agreed.logp_b, "teacher_loss": agreed.logp_a}
        return {
            **{name: -logp for name, logp in logps.items() if logp is not None},
            "kl": agreed.kl_ab,
            "top1": (agreed.argmax_a == agreed.argmax_b).float(),
        }

    def _agreement(
        self,
        module: "PreTrainedModel",
        states: torch.Tensor,
        labels: torch.Tensor,
        of_teacher: torch.Tensor,
    ) -> Agreement:
        if self._teacher is None:
            raise RuntimeError("an agreement needs a teacher")
        weight, bias = live_head(module, self._form.vocabulary)
        head = self._teacher.head
        return linear_agreement(
            of_teacher.to(states.device),
            head.weight.to(states.device),
            states,
            weight,
            labels,
            bias=(head.bias if head.bias is None else head.bias.to(states.device), bias),
            softcap=(head.softcap, self._form.softcap),
            scale=(head.scale, self._form.scale),
            topk=(1,),
        )


def gap_closed(start: float, end: float, teacher: float) -> float | None:
    """Return (CE_start - CE_end) / (CE_start - CE_teacher); None for a gap below 0.01 nats a token.

    The share of the way from the untrained student to the teacher's held-out loss. It is not the
    gain over a student trained without the teacher, which takes a baseline run to know.
    """
    return (start - end) / (start - teacher) if start - teacher >= _SMALLEST_GAP else None
