"""How close a student is to a teacher of other tokens, on the held-out part."""

import math
from typing import TYPE_CHECKING, Any

import torch

from auditor.canon import finite
from auditor.distill.aligned import AlignedRows
from auditor.distill.aligned_objective import AlignedObjective
from auditor.distill.batches import padded_batch
from auditor.distill.captured import STATES
from auditor.distill.fidelity import evaluated
from auditor.distill.objective import cross_entropy, scored_states
from auditor.distill.sequences import Sequences
from auditor.models.base import Head
from auditor.models.batching import plan_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_Sums = dict[str, float]


class AlignedHoldout:
    """The held-out sequences, with the teacher's states on them kept after the first pass."""

    def __init__(
        self,
        store: Sequences,
        rows: AlignedRows,
        *,
        form: Head,
        objective: AlignedObjective,
        batch_tokens: int,
    ) -> None:
        self._store = store
        self._rows = rows
        self._form = form
        self._objective = objective
        self._teacher_states: list[torch.Tensor] = []
        self._batches = plan_batches([int(n) for n in store.lengths], batch_tokens)

    def measure(self, module: "PreTrainedModel") -> dict[str, float | None]:
        """Return means over what is held out; the student keeps its mode and its gradients.

        ``loss``: cross-entropy of the student, nats a token of its own; ``alignment_loss``: the
        alignment's loss, a target; ``bits_per_byte`` and ``teacher_bits_per_byte``: minus the
        log-probability of the spans, over their bytes of text: the same text for both, whatever
        their tokens. These two are None where no text is in a span. ``kl``, ``top1`` and
        ``teacher_loss`` are None: they compare the same tokens.
        """
        parts = evaluated(
            module,
            lambda: [
                self._measured(module, number, members)
                for number, members in enumerate(self._batches)
            ],
        )
        sums = {name: math.fsum(part[name] for part in parts) for name in parts[0]}
        return {"kl": None, "top1": None, "teacher_loss": None, **_means(sums)}

    def _measured(self, module: "PreTrainedModel", number: int, members: list[int]) -> _Sums:
        batch: dict[str, Any] = {
            name: value.to(module.device)
            for name, value in {
                **padded_batch(self._store, members),
                **self._rows.batch(members),
            }.items()
        }
        if number < len(self._teacher_states):
            batch[STATES] = self._teacher_states[number]
        states = scored_states(module, batch)
        labels = batch["targets"][batch["scored"]]
        sides = self._objective.sides(module, states, batch)
        if number == len(self._teacher_states):
            self._teacher_states.append(sides.teacher.hidden)
        own, other = self._objective.span_pairs(sides, labels, batch)
        losses = cross_entropy(module, states, labels, self._form).per_token
        return {
            "targets": float(len(labels)),
            "bytes": float(batch["span_bytes"].sum()),
            "loss": float(losses.double().sum()),
            "alignment_loss": float(self._objective.total(sides, labels, batch)),
            "student": float(own.double().sum()),
            "teacher": float(other.double().sum()),
        }


def _means(sums: _Sums) -> dict[str, float | None]:
    bits = sums["bytes"] * math.log(2.0)
    found = {
        "loss": sums["loss"] / sums["targets"],
        "alignment_loss": sums["alignment_loss"] / sums["targets"],
        "bits_per_byte": -sums["student"] / bits if bits else math.nan,
        "teacher_bits_per_byte": -sums["teacher"] / bits if bits else math.nan,
    }
    return {name: finite(value) if math.isfinite(value) else None for name, value in found.items()}
