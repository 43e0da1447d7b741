"""How close the student is to the teacher on the held-out part, and how well it predicts text."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
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
from auditor.distill.sharding import inside
from auditor.kernels import Agreement, linear_agreement
from auditor.models.base import Head
from auditor.models.batching import plan_batches
from auditor.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from auditor.distill.captured import CapturedTeacher

T = TypeVar("T")
_MEASURED: tuple[str, ...] = ("loss", "kl", "top1", "teacher_loss")
SMALLEST_GAP = 0.01
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

    @property
    def targets(self) -> Array:
        """(S,) number of targets of each sequence."""
        return self._store.targets

    @property
    def vocabulary(self) -> int:
        """Token ids that the student chooses from."""
        return self._form.vocabulary

    def measure(self, module: "PreTrainedModel") -> dict[str, float | None]:
        """Return means over the held-out targets; the student keeps its mode and its gradients.

        ``loss``: cross-entropy of the student, nats a token; ``kl``: KL(teacher || student), nats
        a token; ``top1``: share of positions where both prefer the same token; ``teacher_loss``:
        the teacher's cross-entropy. The last three are None without a teacher's distribution to
        compare with, and `kl` where a token that the teacher allows is impossible for the student.
        """
        parts = evaluated(
            module,
            lambda: [self._measured(module, number) for number in range(len(self._batches))],
        )
        means = {
            name: torch.cat([part[name] for part in parts]).double().mean()
            for name in _MEASURED
            if name in parts[0]
        }
        found = {
            name: finite(float(mean)) if torch.isfinite(mean) else None
            for name, mean in means.items()
        }
        return {"kl": None, "top1": None, "teacher_loss": None, **found}

    def positions_of(
        self, module: "PreTrainedModel", *, shuffled: bool = False
    ) -> dict[str, Array]:
        """Return (N,) float64 values of every held-out target, sequence after sequence.

        ``loss`` as in `measure`, and with a teacher's distribution ``kl``, ``top1``,
        ``teacher_loss``, ``teacher_entropy`` (nats), ``teacher_wrong`` (1 where its likeliest token
        is not the one that came next) and ``same_error`` (1 where the student makes that error
        too).

        `shuffled` gives each target what the student said at another one, half the held-out part
        further on: right in style and in frequencies, and nothing to do with the text.
        """
        parts = evaluated(module, lambda: self._all_compared(module, shuffled))
        order = self._order()
        return {
            name: torch.cat([part[name] for part in parts]).double().cpu().numpy()[order]
            for name in parts[0]
        }

    def _all_compared(
        self, module: "PreTrainedModel", shuffled: bool
    ) -> list[dict[str, torch.Tensor]]:
        read = [self._read(module, members) for members in self._batches]
        states = [found for _, found in read]
        if shuffled:
            states = list(torch.split(_half_further(torch.cat(states)), [len(s) for s in states]))
        return [
            self._compared(module, number, read[number][0], states[number])
            for number in range(len(read))
        ]

    def _order(self) -> Array:
        """Return (N,) where each target, in the order of the sequences, is among the batches."""
        sizes = self._store.targets
        members = np.concatenate([np.asarray(batch) for batch in self._batches])
        starts = np.zeros(len(sizes), np.int64)
        starts[members] = np.cumsum(sizes[members]) - sizes[members]
        return np.concatenate(
            [np.arange(start, start + n) for start, n in zip(starts, sizes, strict=True)]
        )

    def _measured(self, module: "PreTrainedModel", number: int) -> dict[str, torch.Tensor]:
        return self._compared(module, number, *self._read(module, self._batches[number]))

    def _read(
        self, module: "PreTrainedModel", members: list[int]
    ) -> tuple[dict[str, Any], torch.Tensor]:
        batch: dict[str, Any] = {
            name: value.to(module.device)
            for name, value in padded_batch(self._store, members).items()
        }
        return batch, scored_states(module, batch)

    def _compared(
        self, module: "PreTrainedModel", number: int, batch: dict[str, Any], states: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        labels = batch["targets"][batch["scored"]]
        if self._teacher is None:
            return {"loss": cross_entropy(module, states, labels, self._form).per_token}
        if len(self._teacher_states) == number:
            if self._captured is not None:
                batch.update(self._captured.batch(self._batches[number]))
            self._teacher_states.append(teacher_states(self._teacher, batch))
        agreed = self._agreement(module, states, labels, self._teacher_states[number])
        logps = {"loss": agreed.logp_b, "teacher_loss": agreed.logp_a}
        wrong, same = agreed.argmax_a != labels, agreed.argmax_a == agreed.argmax_b
        return {
            **{name: -logp for name, logp in logps.items() if logp is not None},
            "kl": agreed.kl_ab,
            "top1": same.float(),
            "teacher_entropy": agreed.entropy_a,
            "teacher_wrong": wrong.float(),
            "same_error": (wrong & same).float(),
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


def evaluated(module: "PreTrainedModel", compute: Callable[[], T]) -> T:
    """Return ``compute()``, which reads a module, without gradients and dropout.

    The module keeps its mode. One that is sharded is to be read by every rank.
    """
    training = module.training
    module.train(False)
    try:
        with torch.no_grad():
            return inside(module, compute)
    finally:
        module.train(training)


def _half_further(states: torch.Tensor) -> torch.Tensor:
    """Return (N, D) states, each moved by half of N: with N > 1 none stays in its place."""
    return states.roll(-(len(states) // 2), 0)


def gap_closed(start: float, end: float, teacher: float) -> float | None:
    """Return (CE_start - CE_end) / (CE_start - CE_teacher); None for a gap below 0.01 nats a token.

    The share of the way from the untrained student to the teacher's held-out loss. It is not the
    gain over a student trained without the teacher, which takes a baseline run to know.
    """
    return (start - end) / (start - teacher) if start - teacher >= SMALLEST_GAP else None
