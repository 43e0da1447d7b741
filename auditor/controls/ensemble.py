"""Many tiny language models trained at once as one batched ensemble.

Members share a shape and nothing else: weights, data, optimiser state, norm clipping and loss are
each member's own, so that a member's result does not depend on its company. Every operation works
on stacked tensors; on a CPU a few members a pass, so that their activations stay in the cache.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.controls.ensemble_affine import folded
from auditor.controls.ensemble_decoder import decoder
from auditor.controls.ensemble_decoder import forward as decoder_forward
from auditor.controls.ensemble_lessons import Lessons, Recipe, learning_rate
from auditor.controls.ensemble_shape import Shape
from auditor.controls.ensemble_step import Step
from auditor.controls.ensemble_weights import Flat, Stacked, check_tokens, member_count
from auditor.errors import UndefinedError
from auditor.progress import Task

_LARGEST_BLOCK = 31 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The result of `train`."""

    weights: Stacked
    losses: Tensor
    """(steps, E): mean loss a token before each step, in nats (imitated ones: KL times tau^2)."""


@torch.no_grad()
def forward(shape: Shape, weights: Stacked, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (E, B, T, V) and final normalised hidden states (E, B, T, d).

    Hidden states are those that the head reads, gain and shift of the last norm applied.

    Args:
        shape: of the members.
        weights: of E members.
        tokens: (E, B, T) int64.

    Raises:
        InputError: tokens of another number of members, too many, or outside the vocabulary.
    """
    check_tokens(shape, tokens, member_count(weights))
    model = decoder(Flat.of(shape, weights))
    x = decoder_forward(model, tokens, keep=False).final.x  # (E, d, N)
    head = folded(model.head)
    logits = torch.unflatten(head(x).transpose(1, 2), 1, tokens.shape[1:])
    hidden = x.transpose(1, 2)
    if model.head.gain is not None:
        hidden = hidden * model.head.gain[:, None]
    if model.head.shift is not None:
        hidden = hidden + model.head.shift[:, None]
    return logits, torch.unflatten(hidden, 1, tokens.shape[1:])


@torch.no_grad()
def train(
    shape: Shape,
    weights: Stacked,
    lessons: Lessons,
    recipe: Recipe,
    progress: Task | None = None,
) -> Trained:
    """Train every member on its own data and return new weights; `weights` are left alone.

    The same inputs give the same bits on the same machine with the same number of threads.
    A member's loss is the mean over its scored tokens: cross-entropy, or for imitated sequences
    tau^2 KL(teacher || member) at temperature tau.

    Raises:
        InputError: a batch does not fit the ensemble, or a teacher is missing.
        VocabularyError: the teacher's vocabulary is another.
        UndefinedError: a member's loss is no longer finite.
    """
    _keep_freed_memory()
    flat = Flat.of(shape, weights)
    optimiser = _Optimiser(flat, recipe)
    work = Step(flat, optimiser.gradients, recipe, lessons.teacher)
    losses = []
    for step in range(recipe.steps):
        losses.append(work.gradients(lessons.batches(step)))
        _check_finite(losses[-1], step)
        optimiser.step(step)
        if progress is not None:
            progress.advance()
    return Trained(flat.stacked(), torch.stack(losses))


def _check_finite(losses: Tensor, step: int) -> None:
    if not bool(torch.isfinite(losses).all()):
        member = int(torch.nonzero(~torch.isfinite(losses))[0])
        raise UndefinedError(
            f"member {member} diverged: its loss at step {step} is {float(losses[member])}",
            hint="lower the learning rate, or leave this member out",
        )


def _keep_freed_memory() -> None:
    """Make the C library keep some 60 MB of freed memory.

    glibc gives memory back to the system once twice the largest mapped block that was ever freed
    is free, and fresh memory costs a page fault every 4 kB: a quarter of a step's time here. The
    largest block that counts is 32 MB. Elsewhere this does nothing.
    """
    block = torch.empty(_LARGEST_BLOCK, dtype=torch.uint8)
    del block


class _Optimiser:
    """AdamW on the flat table; clipping by the norm of each row."""

    def __init__(self, flat: Flat, recipe: Recipe) -> None:
        self._recipe = recipe
        self._table = flat.table
        self._decayed = flat.decayed() * recipe.weight_decay
        self.gradients = Flat(flat.shape, torch.zeros_like(flat.table))
        self._table.grad = self.gradients.table
        # Decay is applied here, to matrices only; it is decoupled, so the result is AdamW's.
        self._adam = torch.optim.AdamW(
            [self._table], lr=0.0, betas=recipe.betas, weight_decay=0.0, fused=True
        )

    def step(self, step: int) -> None:
        rate = learning_rate(self._recipe, step)
        gradients = self.gradients.table
        norm = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        gradients.mul_((self._recipe.clip / (norm + 1e-6)).clamp_(max=1.0))
        self._table.mul_(1.0 - rate * self._decayed)
        self._adam.param_groups[0]["lr"] = rate
        self._adam.step()
