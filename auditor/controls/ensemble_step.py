"""One training step's losses and gradients, of every member, a few members a pass."""

import torch
from torch import Tensor

from auditor.controls.ensemble_affine import folded
from auditor.controls.ensemble_decoder import backward, decoder, forward
from auditor.controls.ensemble_lessons import Batch, Recipe, Teacher
from auditor.controls.ensemble_loss import HeadPass, Targets, Taught
from auditor.controls.ensemble_weights import Flat, check_tokens
from auditor.errors import InputError, VocabularyError

_TOKENS_A_PASS = 3200
"""On a CPU: enough to hide the cost of calling an operation, few enough for the cache."""


class Step:
    """Computes the gradients of an ensemble's flat table, into another of the same form."""

    def __init__(self, flat: Flat, into: Flat, recipe: Recipe, teacher: Teacher | None) -> None:
        self._flat = flat
        self._into = into
        self._recipe = recipe
        self._members = flat.table.shape[0]
        self._teachers = None if teacher is None else _Teachers(teacher, self._members)
        if teacher is not None and teacher.shape.vocabulary != flat.shape.vocabulary:
            raise VocabularyError(
                f"the teacher has {teacher.shape.vocabulary} token ids, "
                f"the members {flat.shape.vocabulary}"
            )

    def gradients(self, batch: Batch) -> Tensor:
        """Write the gradients of a batch; return each member's mean loss, (E,), in nats."""
        _check(self._flat, batch, self._teachers)
        together = self._recipe.together or self._together(batch)
        return torch.cat(
            [
                self._group(first, _members(batch, first, min(first + together, self._members)))
                for first in range(0, self._members, together)
            ]
        )

    def _together(self, batch: Batch) -> int:
        if self._flat.table.device.type != "cpu":
            return self._members
        return max(1, _TOKENS_A_PASS // batch.tokens[0].numel())

    def _group(self, first: int, batch: Batch) -> Tensor:
        last = first + batch.tokens.shape[0]
        model = decoder(self._flat.rows(first, last))
        into = decoder(self._into.rows(first, last))
        batch = _imitated_first(batch)
        read = batch.tokens[:, :, :-1]
        trace = forward(model, read, keep=True)
        x = trace.final.x
        dx = torch.empty_like(x)
        head = HeadPass(model.head, 1.0 / x.shape[2])
        labels, rates = batch.tokens[:, :, 1:].flatten(1), _rates(batch)
        for members, columns, taught in self._parts(first, batch):
            targets = Targets(
                labels=labels[members, columns],
                rates=None if rates is None else rates[members, columns],
                taught=taught,
                temperature=self._recipe.temperature,
            )
            head.add(x[members, :, columns], dx[members, :, columns], members, targets)
        head.write(into.head)
        backward(model, into, trace, dx, read)
        return head.losses

    def _parts(self, first: int, batch: Batch) -> list[tuple[slice, slice, Taught | None]]:
        """Return which columns of which members have which kind of target."""
        if self._teachers is None or batch.imitated is None or not bool(batch.imitated.any()):
            return [(slice(None), slice(None), None)]
        parts: list[tuple[slice, slice, Taught | None]] = []
        length = batch.tokens.shape[2] - 1
        for member, count in enumerate(batch.imitated.sum(1).tolist()):
            alone, border = slice(member, member + 1), count * length
            if count:
                tokens = batch.tokens[member, :count, :-1]
                taught = self._teachers.taught(first + member, tokens)
                parts.append((alone, slice(0, border), taught))
            if count < batch.tokens.shape[1]:
                parts.append((alone, slice(border, None), None))
        return parts


class _Teachers:
    """Frozen models, ready to teach."""

    def __init__(self, teacher: Teacher, members: int) -> None:
        flat = Flat.of(teacher.shape, teacher.weights)
        count = flat.table.shape[0]
        self._of_member = teacher.of_member or (0,) * members
        if len(self._of_member) != members or not set(self._of_member) <= set(range(count)):
            raise InputError(
                f"of_member {self._of_member} does not give each of {members} members one of "
                f"{count} teachers"
            )
        self._models = [decoder(flat.rows(k, k + 1)) for k in range(count)]
        self._heads = [folded(model.head) for model in self._models]

    def taught(self, member: int, tokens: Tensor) -> Taught:
        """Return what a member's teacher says of tokens (B, T)."""
        k = self._of_member[member]
        head = self._heads[k]
        states = forward(self._models[k], tokens[None], keep=False).final.x[0]
        return Taught(states, head.weight[0], None if head.bias is None else head.bias[0])


def _members(batch: Batch, first: int, last: int) -> Batch:
    rows = slice(first, last)
    return Batch(
        tokens=batch.tokens[rows],
        imitated=None if batch.imitated is None else batch.imitated[rows],
        scored=None if batch.scored is None else batch.scored[rows],
    )


def _imitated_first(batch: Batch) -> Batch:
    """Return the batch with each member's imitated sequences in front; their order is no matter."""
    if batch.imitated is None:
        return batch
    order = torch.argsort(batch.imitated.to(torch.uint8), dim=1, descending=True, stable=True)
    return Batch(
        tokens=torch.take_along_dim(batch.tokens, order[:, :, None], 1),
        imitated=torch.take_along_dim(batch.imitated, order, 1),
        scored=None
        if batch.scored is None
        else torch.take_along_dim(batch.scored, order[:, :, None], 1),
    )


def _rates(batch: Batch) -> Tensor | None:
    """Return (E, N) factors that make the mean over all positions one over the scored ones."""
    if batch.scored is None:
        return None
    scored = batch.scored.flatten(1).float()
    return scored / scored.mean(1, keepdim=True)


def _check(flat: Flat, batch: Batch, teachers: "_Teachers | None") -> None:
    tokens, members = batch.tokens, flat.table.shape[0]
    if tokens.ndim != 3 or tokens.shape[2] < 2:
        raise InputError(f"tokens must be (members, sequences, T + 1), found {tuple(tokens.shape)}")
    check_tokens(flat.shape, tokens[:, :, :-1], members)
    check_tokens(flat.shape, tokens[:, :, 1:], members)
    if batch.imitated is not None:
        if batch.imitated.shape != tokens.shape[:2]:
            raise InputError(f"imitated must be (members, sequences), found {batch.imitated.shape}")
        if teachers is None and bool(batch.imitated.any()):
            raise InputError("sequences are to be imitated and there is no teacher")
    if batch.scored is not None:
        if batch.scored.shape != tokens[:, :, 1:].shape:
            raise InputError(f"scored must be (members, sequences, T), found {batch.scored.shape}")
        if not bool(batch.scored.flatten(1).any(1).all()):
            raise InputError("a member has no scored token in a batch")
