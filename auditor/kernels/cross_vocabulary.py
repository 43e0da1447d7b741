"""Losses between models of different vocabularies, at positions that follow the same text.

All return one value a position, differentiable by the student's logits, in float32 (float64 if an
input is). The teacher gets no gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.errors import InputError, VocabularyError
from auditor.kernels.divergences import (
    checked_temperature,
    divergence_loss,
    tempered_log_softmax,
)
from auditor.kernels.projection import Projection

EXCLUDED = -1
"""Category of a token id that takes no part."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Categories:
    """A common alphabet of two vocabularies: M matched categories, and OTHER for all else.

    Raises:
        VocabularyError: nothing is matched, a matched category is empty on a side, or only one
            side has other tokens: it would have to give mass to what the other side cannot say.
    """

    student: Tensor
    """(Vs,) int64: category of each id: 0 .. M-1 matched, M for OTHER, -1 for left out."""
    teacher: Tensor
    """(Vt,) int64."""
    matched: int
    """M."""

    def __post_init__(self) -> None:
        if self.matched < 1:
            raise VocabularyError("the two vocabularies share no token")
        counts = [self._counts(table) for table in (self.student, self.teacher)]
        for name, count in zip(("student", "teacher"), counts, strict=True):
            if not bool((count[:-1] > 0).all()):
                raise VocabularyError(f"a matched category has no token of the {name}")
        if bool(counts[0][-1] > 0) != bool(counts[1][-1] > 0):
            name = "student" if counts[0][-1] == 0 else "teacher"
            raise VocabularyError(
                f"every text token of the {name} is matched, but not those of the other side",
                hint="for a byte-level student use next_byte_targets",
            )

    @property
    def size(self) -> int:
        """Number of categories: M, or M + 1 with OTHER."""
        return max(int(self.student.max()), int(self.teacher.max())) + 1

    def _counts(self, table: Tensor) -> Tensor:
        outside = (table < EXCLUDED) | (table > self.matched)
        if table.ndim != 1 or table.dtype != torch.int64 or bool(outside.any()):
            raise InputError(f"categories are (V,) int64 from -1 to {self.matched}")
        return torch.bincount(table[table >= 0], minlength=self.matched + 1)


def matched_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    categories: Categories,
    *,
    divergence: str = "forward-kl",
    beta: float = 0.5,
    temperature: float = 1.0,
) -> Tensor:
    """Return (A,) divergence of the two distributions over the categories, in nats.

    OTHER is a category, so both sides sum to 1: this is a true divergence, never negative, and 0
    if and only if the coarsened distributions are equal. It is at most that of the whole
    distributions (data processing inequality). Forward KL has by the student's logits z_v the
    gradient s_v (1 - T_c / S_c) / temperature, with c the category of v and S, T the masses of
    categories; with one token a category, the usual (s_v - t_v) / temperature.

    Args:
        student_logits: (A, Vs), gets a gradient.
        teacher_logits: (A, Vt).
        categories: of the two vocabularies.
        divergence: as in `divergence_loss`.
        beta: as in `divergence_loss`.
        temperature: divides both logits, before tokens are put together.

    Raises:
        InputError: shapes, name, beta or temperature are not usable.
        VocabularyError: logits and categories differ in V.
    """
    tau = checked_temperature(temperature)
    _check_positions(student_logits, teacher_logits)
    own = _coarse(student_logits, categories.student, categories.size, tau)
    with torch.no_grad():
        other = _coarse(teacher_logits, categories.teacher, categories.size, tau)
    return divergence_loss(own, other, divergence=divergence, beta=beta)


def uld_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Return (A,) sums of |sorted t - sorted s|, in [0, 2]; the shorter side is padded with 0.

    Universal logit distillation (Boizard et al. 2402.12030, equation 3): the Wasserstein distance
    of the two sets of probabilities when all moves cost the same. It is 0 if and only if both
    sides have the same probabilities in some order: which token has which is not compared. Where
    two sorted values are equal the subgradient is 0.

    Args:
        student_logits: (A, Vs), gets a gradient.
        teacher_logits: (A, Vt).
        temperature: divides both logits.

    Raises:
        InputError: shapes or temperature are not usable.
    """
    tau = checked_temperature(temperature)
    _check_positions(student_logits, teacher_logits)
    s = tempered_log_softmax(student_logits, tau).exp().sort(-1, descending=True).values
    t = tempered_log_softmax(teacher_logits.detach(), tau).exp().sort(-1, descending=True).values
    missing = int(t.shape[1]) - int(s.shape[1])
    s = torch.nn.functional.pad(s, (0, max(missing, 0)))
    t = torch.nn.functional.pad(t, (0, max(-missing, 0)))
    return (t.to(s.dtype) - s).abs().sum(-1)


def chunked_total(
    loss: Callable[[Tensor, Tensor], Tensor],
    student: Projection,
    teacher: Projection,
    *,
    weights: Tensor | None = None,
    chunk: int = 256,
) -> Tensor:
    """Return (), the weighted sum of a loss over positions, with logits of one chunk at a time.

    Backward computes each chunk's logits again. Gradients flow to the student's hidden states,
    weight and bias. With no position, the sum is 0 with a gradient of zeros.

    Args:
        loss: (student logits, teacher logits) of R positions -> (R,).
        student: A positions.
        teacher: the same positions, of its own vocabulary.
        weights: (A,); ones if None.
        chunk: positions whose logits exist at once.

    Raises:
        InputError: shapes do not fit, or chunk is below 1.
    """
    from torch.utils.checkpoint import checkpoint

    student.check()
    teacher.check()
    _check_positions(student.hidden, teacher.hidden)
    if chunk < 1:
        raise InputError(f"chunk must be at least 1 position, found {chunk}")
    if weights is not None and weights.shape != (student.positions,):
        raise InputError(f"weights must be ({student.positions},), found {tuple(weights.shape)}")

    def part(hidden: Tensor, rows: slice) -> Tensor:
        with torch.no_grad():
            said = teacher.logits_into(teacher.buffer(len(hidden)), rows).to(hidden.device)
        values = loss(live_logits(student, hidden), said)
        return (values if weights is None else values * weights[rows].to(values)).sum()

    total = (student.hidden.sum() + student.weight.sum()).to(student.dtype) * 0.0
    for start in range(0, student.positions, chunk):
        rows = slice(start, start + chunk)
        total = total + checkpoint(part, student.hidden[rows], rows, use_reentrant=False)
    return total


def live_logits(side: Projection, hidden: Tensor) -> Tensor:
    """Return (R, V) logits that carry gradients, as `Projection.logits_into`."""
    logits = hidden.to(side.dtype) @ side.weight.to(side.dtype).T
    if side.bias is not None:
        logits = logits + side.bias.to(side.dtype)
    if side.softcap is None:
        return logits * side.scale
    return torch.tanh(logits * (side.scale / side.softcap)) * side.softcap


def _coarse(logits: Tensor, table: Tensor, size: int, tau: float) -> Tensor:
    """Return (A, size) log-masses of the categories, among the ids that take part."""
    if int(logits.shape[1]) != len(table):
        raise VocabularyError(
            f"logits of {logits.shape[1]} token ids meet categories of {len(table)}",
            hint="cut the logits to the real token ids",
        )
    kept = torch.nonzero(table >= 0)[:, 0].to(logits.device)
    numbers = table.to(logits.device)[kept]
    logprobs = tempered_log_softmax(logits[:, kept], tau)  # (A, K)
    places = numbers.expand(len(logits), -1)
    # The largest of each category is taken out before exp: tiny masses keep their digits.
    top = logprobs.new_full((len(logits), size), -torch.inf).scatter_reduce(
        1, places, logprobs.detach(), "amax"
    )
    parts = (logprobs - top.gather(1, places)).exp()
    return top + torch.zeros_like(top).index_add(1, numbers, parts).log()


def _check_positions(student: Tensor, teacher: Tensor) -> None:
    for name, table in (("student", student), ("teacher", teacher)):
        if table.ndim != 2 or not table.dtype.is_floating_point:
            raise InputError(
                f"the {name}'s table must be floating point with two axes, found "
                f"{table.dtype} {tuple(table.shape)}"
            )
    if len(student) != len(teacher):
        raise InputError(f"student has {len(student)} positions, teacher {len(teacher)}")
