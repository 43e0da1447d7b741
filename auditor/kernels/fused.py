"""A loss on hidden states whose gradients are computed in the forward pass, chunk by chunk.

For a chunk of positions the logits of both models are formed, turned into losses and, in place,
into the gradient of the student's logits, which is multiplied into the gradients of its hidden
states and head at once. So no (T, V) tensor outlives a chunk, and nothing is recomputed.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from auditor.errors import InputError, KernelUnavailableError
from auditor.kernels.divergences import Mixture
from auditor.kernels.loss_terms import cross_entropy, divergence, tempered, tempered_softmax
from auditor.kernels.products import add_outer_products, add_product
from auditor.kernels.projection import Projection
from auditor.kernels.sparse import SparseTargets
from auditor.kernels.sparse_terms import sparse_divergence
from auditor.kernels.workspace import Workspace

Implementation = Literal["auto", "chunked", "triton"]

_BLOCK_ELEMENTS = 1 << 19
"""Logits worked on at once: 2 MiB in float32, so that intermediate tables stay in cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """All that is not differentiated."""

    student: Projection
    teacher: Projection | None
    mixture: Mixture
    tau: float
    weights: Tensor
    labels: Tensor | None
    targets: SparseTargets | None
    chunk: int
    with_gradient: bool
    once: bool
    """Backward runs once, and may use up the stashed gradients."""
    workspace: Workspace
    implementation: str
    """What turns a chunk of logits into losses and gradients: "chunked" or "triton"."""


def chosen_implementation(asked: str, student: Projection, *, sparse: bool = False) -> str:
    """Return the implementation that runs on the student's logits; "auto" takes the fastest.

    Raises:
        KernelUnavailableError: no such name, or it cannot run here.
    """
    if asked not in get_args(Implementation):
        raise KernelUnavailableError(
            f"no implementation of the losses is called {asked!r}",
            hint="choose one of " + ", ".join(get_args(Implementation)),
        )
    if asked == "chunked":
        return asked
    obstacle = _triton_obstacle(student, sparse)
    if asked == "triton" and obstacle is not None:
        raise KernelUnavailableError(
            f"the triton losses {obstacle[0]}", hint=f'{obstacle[1]}, or use "chunked"'
        )
    return "triton" if obstacle is None else "chunked"


def _triton_obstacle(student: Projection, sparse: bool) -> tuple[str, str] | None:
    """Return why the Triton kernels cannot run, and the remedy; None if they can."""
    device = student.hidden.device.type
    if device != "cuda":
        return f"need an NVIDIA GPU, found tensors on {device}", "move the tensors to cuda"
    if student.dtype == torch.float64:
        return "compute in float32, found float64 inputs", "give float32 or bfloat16"
    if sparse:
        return "read whole distributions, found sparse targets", "give h_t and w_t"
    if find_spec("triton") is None:
        return "need the package triton", "pip install 'auditor[triton]'"
    return None


class FusedLoss(torch.autograd.Function):
    """Loss forward, gradients stashed; see `distillation_loss`."""

    @staticmethod
    def forward(ctx: Any, h_s: Tensor, w_s: Tensor, b_s: Tensor | None, job: Job) -> Any:
        """Return (total, per_token)."""
        wanted = [job.with_gradient and bool(need) for need in ctx.needs_input_grad[:3]]
        with torch.autocast(h_s.device.type, enabled=False):
            work = _Accumulated(job, wanted)
            for rows in torch.split(torch.nonzero(job.weights)[:, 0], job.chunk):
                work.add(rows)
        ctx.once = job.once
        ctx.gradients = work.gradients_like(h_s, w_s, b_s)
        ctx.mark_non_differentiable(work.per_token)
        total = (work.per_token.double() * job.weights.double()).sum().to(job.student.dtype)
        return total, work.per_token

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, _grad_per_token: Tensor) -> Any:
        """Scale the stashed gradients by the one number that autograd hands in.

        Raises:
            InputError: called a second time for a loss that was to be differentiated once.
        """
        stashed = ctx.gradients
        if stashed is None:
            raise InputError(
                "this loss could be differentiated once", hint="compute it again, or without once"
            )
        if not ctx.once:
            return (*(None if g is None else g * grad_total.to(g.dtype) for g in stashed), None)
        ctx.gradients = None
        return (*(None if g is None else g.mul_(grad_total.to(g.dtype)) for g in stashed), None)


class _Accumulated:
    """Losses and gradients summed over the chunks seen so far."""

    def __init__(self, job: Job, wanted: list[bool]) -> None:
        self.job = job
        student = job.student
        self.per_token = torch.zeros_like(job.weights)  # (T,)
        kind = student.dtype
        self.d_hidden = torch.zeros_like(student.hidden, dtype=kind) if wanted[0] else None
        self.d_weight = torch.zeros_like(student.weight, dtype=kind) if wanted[1] else None
        self.d_bias = self.per_token.new_zeros(student.vocabulary) if wanted[2] else None
        rows = min(job.chunk, max(1, student.positions))
        tables = job.workspace
        self.student_logits = tables.logits(student, rows)  # (C, V): becomes the gradient
        self.teacher_logits = None if job.teacher is None else tables.logits(job.teacher, rows)

    @property
    def differentiates(self) -> bool:
        """Whether any gradient is wanted."""
        return not (self.d_hidden is None and self.d_weight is None and self.d_bias is None)

    def add(self, rows: Tensor) -> None:
        """Add the positions `rows` (C,), at most a chunk of them."""
        job = self.job
        zs = job.student.logits_into(self.student_logits[: len(rows)], rows)
        zt = None
        if job.teacher is not None and self.teacher_logits is not None:
            zt = job.teacher.logits_into(self.teacher_logits[: len(rows)], rows)
        if job.implementation == "triton":
            self._rows_by_triton(zs, zt, rows)
        else:
            step = max(1, _BLOCK_ELEMENTS // zs.shape[1])
            for start in range(0, len(rows), step):
                pick = slice(start, start + step)
                self._block(zs[pick], None if zt is None else zt[pick], rows[pick])
        if self.differentiates:
            self._pull_back(zs, rows)

    def _rows_by_triton(self, zs: Tensor, zt: Tensor | None, rows: Tensor) -> None:
        """Do what `_block` does on a whole chunk, in one kernel."""
        from auditor.kernels.triton.losses import RowLoss  # triton is optional

        job = self.job
        loss = RowLoss(
            mixture=job.mixture,
            tau=job.tau,
            softcap=job.student.softcap,
            with_gradient=self.differentiates,
        )
        rates = job.weights[rows] * (job.mixture.factor * job.student.scale / job.tau)  # (C,)
        with torch.cuda.device_of(zs):  # type: ignore[no-untyped-call]
            if zt is not None:
                self.per_token[rows] = loss.divergence(zs, zt, rates)
            else:
                self.per_token[rows] = loss.cross_entropy(zs, self._labels(rows), rates)

    def _labels(self, rows: Tensor) -> Tensor:
        if self.job.labels is None:
            raise InputError("a loss needs a teacher or labels")
        return self.job.labels[rows]

    def _block(self, zs: Tensor, zt: Tensor | None, rows: Tensor) -> None:
        """Set the losses of a few rows and overwrite their student logits by the gradient."""
        job = self.job
        if job.targets is not None:
            terms = sparse_divergence(tempered(zs, job.tau), job.targets, rows)
            value = terms.value  # of a sample: may be below 0
        elif zt is not None:
            student, teacher = tempered_softmax(zs, job.tau), tempered_softmax(zt, job.tau)
            terms = divergence(job.mixture.kind, student, teacher, job.mixture.beta)
            value = (terms.value * job.mixture.factor).clamp_(min=0.0)
        else:
            terms = cross_entropy(tempered_softmax(zs, job.tau), self._labels(rows))
            value = terms.value.clamp_(min=0.0)
        self.per_token[rows] = value
        if self.differentiates:
            rate = job.weights[rows] * (job.mixture.factor / job.tau)  # (R,)
            gradient = terms.gradient.mul_(rate[:, None])
            zs.copy_(job.student.unshape_gradient(gradient, zs))

    def _pull_back(self, gradient: Tensor, rows: Tensor) -> None:
        """Multiply the gradient (C, V) of h W^T + b into those of h, W and b."""
        student = self.job.student
        hidden = None if self.d_weight is None else student.hidden_rows(rows)  # (C, D)
        d_hidden = None
        if self.d_hidden is not None:
            d_hidden = gradient.new_zeros((len(rows), self.d_hidden.shape[1]))
        for start, tile in student.tiles():
            part = gradient[:, start : start + tile.shape[0]]  # (C, n)
            if d_hidden is not None:
                add_product(d_hidden, part, tile.T)
            if self.d_weight is not None and hidden is not None:
                add_outer_products(self.d_weight[start : start + tile.shape[0]], part, hidden)
        if self.d_hidden is not None and d_hidden is not None:
            self.d_hidden[rows] = d_hidden
        if self.d_bias is not None:
            self.d_bias.add_(gradient.sum(0))

    def gradients_like(self, h: Tensor, w: Tensor, b: Tensor | None) -> list[Tensor | None]:
        """Return the gradients in the types of the inputs; None where not wanted."""
        pairs = ((self.d_hidden, h), (self.d_weight, w), (self.d_bias, b))
        return [None if g is None or x is None else g.to(x.dtype) for g, x in pairs]
