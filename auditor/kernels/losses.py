"""Distillation losses from hidden states and heads; logits live one chunk long."""

from typing import NamedTuple

import torch
from torch import Tensor

from auditor.errors import InputError, VocabularyError
from auditor.kernels.divergences import (
    Mixture,
    checked_mixture,
    checked_temperature,
    divergence_loss,
)
from auditor.kernels.fused import FusedLoss, Job, chosen_implementation
from auditor.kernels.projection import Projection, alike
from auditor.kernels.sparse import SparseTargets, checked_targets
from auditor.kernels.workspace import Workspace

__all__ = ["DistillationLoss", "distillation_loss", "divergence_loss"]

CROSS_ENTROPY = "cross-entropy"
IGNORED = -100
"""Label of a position without a target, as in torch."""


class DistillationLoss(NamedTuple):
    """What `distillation_loss` returns."""

    total: Tensor
    """(): sum over positions of weight * loss; differentiable."""
    per_token: Tensor
    """(T,): the unweighted loss in nats, detached; 0 where the weight is 0."""
    implementation: str
    """What computed it: "chunked" (torch) or "triton"."""


def distillation_loss(
    h_s: Tensor,
    w_s: Tensor,
    h_t: Tensor | None = None,
    w_t: Tensor | None = None,
    *,
    divergence: str,
    beta: float = 0.5,
    temperature: float = 1.0,
    normalise: bool = False,
    weights: Tensor | None = None,
    labels: Tensor | None = None,
    targets: SparseTargets | None = None,
    bias: tuple[Tensor | None, Tensor | None] = (None, None),
    softcap: tuple[float | None, float | None] = (None, None),
    scale: tuple[float, float] = (1.0, 1.0),
    chunk: int = 256,
    once: bool = False,
    workspace: Workspace | None = None,
    implementation: str = "auto",
) -> DistillationLoss:
    """Return the weighted sum of a loss over positions, and the loss of each position.

    Gradients for `h_s`, `w_s` and the student's bias are computed here, where the logits exist;
    backward only scales them by the gradient of `total`, one number. Weights (a mask, 1 / number
    of valid tokens, ...) must therefore be given now: `per_token` carries no gradient. Positions
    of weight 0 cost nothing. With no position left, `total` is 0 with a gradient of zeros.

    Memory beyond the gradients: 2 * chunk * V * 4 bytes. Float32 inside, whatever the inputs
    (float64 if one is).

    Args:
        h_s: (T, Ds) final hidden states of the student.
        w_s: (V, Ds) its unembedding, cut to the real token ids.
        h_t: (T, Dt) of the teacher; None for "cross-entropy".
        w_t: (V, Dt); None for "cross-entropy".
        divergence: as in `divergence_loss`, or "cross-entropy" against `labels`.
        beta: as in `divergence_loss`.
        temperature: divides the logits.
        normalise: as in `divergence_loss`.
        weights: (T,) non-negative; ones if None.
        labels: (T,) token ids for "cross-entropy"; -100 means no target.
        targets: K entries a position in place of `h_t` and `w_t`, for "forward-kl" alone: of other
            divergences a part of the distribution gives no unbiased estimate.
        bias: (V,) of student and teacher heads, or None.
        softcap: of student and teacher heads, or None.
        scale: logit multipliers of student and teacher heads.
        chunk: positions whose logits exist at once. On a GPU 2048 or more: the gradient of `w_s`
            is read and written once a chunk.
        once: the loss will be differentiated at most once. Spares backward a copy of the gradient
            of `w_s`, which is as large as the head.
        workspace: keeps the tables of logits for the next call; None: they are freed.
        implementation: "chunked" (torch, on any device), "triton" (one kernel per chunk, NVIDIA
            GPU, not for float64), or "auto": triton where it can run, else chunked.

    Raises:
        InputError: shapes, names or values are not usable.
        VocabularyError: student and teacher differ in V.
        KernelUnavailableError: no such implementation, or it cannot run here.
    """
    sides = [
        Projection(name=n, hidden=h, weight=w, bias=bias[i], softcap=softcap[i], scale=scale[i])
        for i, (n, h, w) in enumerate((("s", h_s, w_s), ("t", h_t, w_t)))
        if h is not None and w is not None
    ]
    hard = divergence == CROSS_ENTROPY
    mixture = Mixture(CROSS_ENTROPY, 0.0) if hard else checked_mixture(divergence, beta, normalise)
    tau = checked_temperature(temperature)
    sides[0].check()
    if targets is not None:
        _check_sparse(targets, sides, divergence, tau)
    labels = _checked_labels(labels, sides[0]) if hard else None
    if chunk < 1:
        raise InputError(f"chunk must be at least 1 position, found {chunk}")
    student, *teachers = alike(sides[:1] if hard or targets is not None else _checked(sides))
    job = Job(
        student=student,
        teacher=teachers[0] if teachers else None,
        mixture=mixture,
        tau=tau,
        weights=_checked_weights(weights, labels, sides[0]),
        labels=labels,
        targets=targets,
        chunk=chunk,
        with_gradient=torch.is_grad_enabled(),
        once=once,
        workspace=workspace or Workspace(),
        implementation=chosen_implementation(implementation, sides[0], sparse=targets is not None),
    )
    total, per_token = FusedLoss.apply(h_s, w_s, bias[0], job)  # type: ignore[no-untyped-call]
    return DistillationLoss(total, per_token, job.implementation)


def _check_sparse(
    targets: SparseTargets, sides: list[Projection], divergence: str, tau: float
) -> None:
    if len(sides) > 1:
        raise InputError("targets stand for the teacher", hint="give targets, or h_t and w_t")
    if divergence != "forward-kl":
        raise InputError(
            f"{divergence} is not defined for targets of K entries",
            hint='use "forward-kl", or the teacher\'s h_t and w_t',
        )
    if targets.temperature != tau:
        raise InputError(
            f"temperature is {tau}, the targets were taken at {targets.temperature}",
            hint="a part of a distribution cannot be tempered: take the targets again",
        )
    checked_targets(targets, sides[0].positions, sides[0].vocabulary)


def _checked(sides: list[Projection]) -> list[Projection]:
    """Return student and teacher after checks of the teacher."""
    if len(sides) < 2:
        raise InputError("a divergence needs the teacher's h_t and w_t", hint="give both")
    student, teacher = sides
    teacher.check()
    if teacher.hidden.device != student.hidden.device:
        raise InputError(f"h_s is on {student.hidden.device}, h_t on {teacher.hidden.device}")
    if teacher.positions != student.positions:
        raise InputError(f"h_s has {student.positions} positions, h_t {teacher.positions}")
    if teacher.vocabulary != student.vocabulary:
        raise VocabularyError(
            f"w_s has {student.vocabulary} token ids and w_t {teacher.vocabulary}",
            hint="cut both heads to the real token ids of a common tokenizer",
        )
    return sides


def _checked_labels(labels: Tensor | None, student: Projection) -> Tensor:
    if labels is None or labels.shape != (student.positions,):
        found = None if labels is None else tuple(labels.shape)
        raise InputError(f"cross-entropy needs labels ({student.positions},), found {found}")
    wide = labels.to(device=student.hidden.device, dtype=torch.int64)
    outside = (wide != IGNORED) & ((wide < 0) | (wide >= student.vocabulary))
    if bool(outside.any()):
        row = int(torch.nonzero(outside)[0])
        raise InputError(f"labels[{row}] = {int(wide[row])} is not in 0..{student.vocabulary - 1}")
    return wide


def _checked_weights(weights: Tensor | None, labels: Tensor | None, student: Projection) -> Tensor:
    """Return (T,) weights in the compute type; 0 where there is no target."""
    shape, device = (student.positions,), student.hidden.device
    if weights is None:
        checked = torch.ones(shape, dtype=student.dtype, device=device)
    else:
        checked = weights.detach().to(device=device, dtype=student.dtype)
    if checked.shape != shape:
        raise InputError(f"weights must be {shape}, found {tuple(checked.shape)}")
    if not bool((torch.isfinite(checked) & (checked >= 0)).all()):
        raise InputError("weights must be finite and not negative")
    return checked if labels is None else checked * (labels != IGNORED)
