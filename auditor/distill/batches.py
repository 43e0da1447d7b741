"""Which sequences make up which optimizer step: fixed before training, so resuming is exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.distill.sequences import Sequences
from auditor.errors import RecipeError
from auditor.types import Array

if TYPE_CHECKING:
    import torch

    from auditor.distill.aligned import AlignedRows
    from auditor.distill.captured import CapturedTeacher


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchPlan:
    """M = steps x parts micro-batches; those of step k are k * parts .. (k + 1) * parts - 1."""

    members: tuple[Array, ...]
    """(M) arrays of sequence numbers."""
    parts: int
    """Micro-batches of a step, over accumulation and ranks."""
    step_targets: Array
    """(steps,) int64: targets of the whole step. The loss is divided by this one number."""
    step_generated: Array
    """(steps,) int64: those of them that the teacher wrote."""


def plan_steps(
    store: Sequences, *, steps: int, batch_tokens: int, parts: int, seed: int
) -> BatchPlan:
    """Return `steps` batches of at most `batch_tokens` inputs, each cut into `parts`.

    Sequences come in a new seeded order each epoch; a step may span two epochs. What a step holds
    does not depend on `parts`, so neither accumulation nor the number of ranks changes a result.

    Raises:
        RecipeError: the budget is smaller than one longest sequence for each part.
    """
    check_budget(int(store.lengths.max()), batch_tokens=batch_tokens, parts=parts)
    chosen = training_order(store.lengths, steps=steps, batch_tokens=batch_tokens, seed=seed)
    targets = store.targets
    members = [part for rows in chosen for part in _cut(rows, store.lengths, parts)]
    return BatchPlan(
        members=tuple(members),
        parts=parts,
        step_targets=np.array([targets[rows].sum() for rows in chosen], dtype=np.int64),
        step_generated=np.array(
            [targets[rows[store.generated[rows]]].sum() for rows in chosen], dtype=np.int64
        ),
    )


def check_budget(longest: int, *, batch_tokens: int, parts: int) -> None:
    """Refuse a budget of a step that cannot give each part a sequence of `longest` inputs.

    Raises:
        RecipeError: it is too small.
    """
    if longest * parts > batch_tokens:
        raise RecipeError(
            f"train.batch_tokens ({batch_tokens}) is too small: {parts} part(s) of a step must "
            f"each hold a sequence of up to {longest} tokens",
            hint=f"set train.batch_tokens to at least {longest * parts}, or lower data.max_length",
        )


def training_order(lengths: Array, *, steps: int, batch_tokens: int, seed: int) -> list[Array]:
    """Return the sequence numbers of each step, in the order in which they were drawn."""
    chosen: list[Array] = []
    rows: list[int] = []
    room = batch_tokens
    epoch = 0
    while True:
        # RandomState: its stream is frozen across numpy versions. Never seed + epoch: the run of
        # the next seed would repeat the order of this one, an epoch earlier.
        random = np.random.RandomState([seed, epoch] if epoch else seed)
        for row in random.permutation(len(lengths)):
            if lengths[row] > room:
                chosen.append(np.array(rows, dtype=np.int64))
                rows, room = [], batch_tokens
                if len(chosen) == steps:
                    return chosen
            rows.append(int(row))
            room -= int(lengths[row])
        epoch += 1


def _cut(rows: Array, lengths: Array, parts: int) -> list[Array]:
    """Return `rows` dealt to `parts` of nearly equal token count, longest first, none empty."""
    dealt: list[list[int]] = [[] for _ in range(parts)]
    load = np.zeros(parts, dtype=np.int64)
    for row in rows[np.argsort(-lengths[rows], kind="stable")]:
        lightest = int(load.argmin())
        dealt[lightest].append(int(row))
        load[lightest] += lengths[row]
    return [np.array(part, dtype=np.int64) for part in dealt]


class MicroBatches:
    """The micro-batches of a plan as a data set that a torch DataLoader can read in order."""

    def __init__(
        self,
        store: Sequences,
        plan: BatchPlan,
        captured: "CapturedTeacher | AlignedRows | None" = None,
    ) -> None:
        self._store = store
        self._plan = plan
        self._captured = captured

    def __len__(self) -> int:
        return len(self._plan.members)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `padded_batch` of the members, with ``step_targets`` of their step.

        ``draws``: `draw_numbers`. With a captured teacher also what it said there, with one of
        other tokens what it reads.
        """
        import torch

        members = self._plan.members[index]
        batch = padded_batch(self._store, members)
        if self._captured is not None:
            batch.update(self._captured.batch(members))
        batch["draws"] = torch.from_numpy(draw_numbers(self._plan, index))
        return {**batch, "step_targets": int(self._plan.step_targets[index // self._plan.parts])}


def draw_numbers(plan: BatchPlan, index: int) -> Array:
    """Return (B, 2) int64 of a micro-batch: sequence number, and its how manieth use in the step.

    They name each draw of a step once, whatever number of parts the step is cut into.
    """
    start = index // plan.parts * plan.parts
    before = [int(member) for part in plan.members[start:index] for member in part]
    numbers: list[tuple[int, int]] = []
    for member in map(int, plan.members[index]):
        numbers.append((member, before.count(member)))
        before.append(member)
    return np.array(numbers, dtype=np.int64).reshape(-1, 2)


def padded_batch(store: Sequences, members: Sequence[int] | Array) -> dict[str, "torch.Tensor"]:
    """Return B sequences padded on the right to L inputs.

    ``input_ids`` (B, L), ``targets`` (B, L), ``scored`` (B, L) bool: the target enters the loss;
    ``attention_mask`` (B, L) only where something is padded, so that full batches take the
    faster causal attention.
    """
    import torch

    lengths = store.lengths[members]
    shape = (len(members), int(lengths.max()))
    inputs, targets = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    scored, mask = np.zeros(shape, bool), np.zeros(shape, np.int64)
    for line, (member, length) in enumerate(zip(members, lengths, strict=True)):
        row = store.row(int(member))
        inputs[line, :length], targets[line, :length] = row[:-1], row[1:]
        scored[line, store.first[member] - 1 : length] = True
        mask[line, :length] = 1
    arrays = {"input_ids": inputs, "targets": targets, "scored": scored}
    if not mask.all():
        arrays["attention_mask"] = mask
    return {name: torch.from_numpy(values) for name, values in arrays.items()}
