"""Distillation losses forward and backward, from hidden states, dense and sparse targets."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from auditor import kernels
from auditor.bench import peers_liger, peers_torch, peers_trl
from auditor.bench.bars import faster, smaller
from auditor.bench.case_agreement import ours
from auditor.bench.case_linear import states_and_heads
from auditor.bench.experiment import OURS, TORCH, Candidate, Experiment, Outputs, Run, Settings
from auditor.bench.implementations import loss_implementations
from auditor.errors import KernelUnavailableError
from auditor.kernels import distillation_loss

NAIVE = "torch autograd"
_COMPUTES = "loss, both gradients"
_CHUNK = 512
"""Positions whose logits exist at once: the larger, the faster the products."""
Pair = tuple[Tensor, Tensor]
"""Hidden states (T, D) and head (V, D) of one model."""


def gradients(total: Tensor, hidden: Tensor, head: Tensor) -> Outputs:
    """Return a loss and its gradients for the student's hidden states and head."""
    grad_h, grad_w = torch.autograd.grad(total, (hidden, head))
    return {"loss": total.detach(), "grad_h": grad_h, "grad_w": grad_w}


def _naive(run: Run) -> Candidate:
    return Candidate(
        name=NAIVE,
        computes=_COMPUTES,
        prepare=lambda: run,
        package=TORCH,
    )


def _wide(student: Pair) -> Pair:
    """Return the student's tables in float64, for the truth."""
    hidden, head = (table.detach().double().requires_grad_() for table in student)
    return hidden, head


def _naive_jsd(student: Pair, teacher: Pair) -> Outputs:
    """Return the loss through whole tables of logits, by autograd."""
    logits = functional.linear(*(table.to(student[0].dtype) for table in teacher))
    return gradients(peers_torch.jsd_loss(functional.linear(*student), logits), *student)


def _our_jsd(student: Pair, teacher: Pair, implementation: str) -> Run:
    """Return the loss with tables of logits that are kept from call to call."""
    options: dict[str, Any] = {
        "once": True,
        "chunk": _CHUNK,
        "workspace": kernels.Workspace(),
        "implementation": implementation,
    }

    def run() -> Outputs:
        loss = distillation_loss(*student, *teacher, divergence="jsd", **options)
        return gradients(loss.total, *student)

    return run


def jsd(settings: Settings) -> Experiment:
    """Generalised JSD with beta 1/2 against a teacher's hidden states."""
    positions, widths, vocabulary = (
        (16, (8, 12), 257) if settings.small else (512, (256, 512), 32_000)
    )
    states, heads = states_and_heads(positions, widths, vocabulary, settings)
    student = states[0].requires_grad_(), heads[0].requires_grad_()
    teacher = states[1], heads[1]
    names = loss_implementations()
    first = f"{OURS} {names[0]}"
    found = [ours(name, _our_jsd(student, teacher, name), _COMPUTES) for name in names]
    kept = 2 * min(_CHUNK, positions) * vocabulary * heads[0].element_size()
    return Experiment(
        title="JSD distillation loss forward and backward, float32",
        shape={"T": positions, "Hs": widths[0], "Ht": widths[1], "V": vocabulary},
        candidates=(
            *(replace(one, kept_bytes=kept) for one in found),
            _naive(lambda: _naive_jsd(student, teacher)),
            *peers_liger.chunked_jsd(states, heads),
            peers_trl.chunked_jsd(states, heads),
        ),
        truth=lambda: _naive_jsd(_wide(student), teacher),
        bars=(
            faster(first, NAIVE, 2.5),
            faster(first, peers_trl.CHUNKED, 3.0),
            faster(first, peers_liger.COMPILED, 1.0),
            smaller(first, NAIVE, 0.25),
        ),
    )


def _our_sparse(student: Pair, teacher_logits: Tensor, k: int) -> Run:
    if not hasattr(kernels, "topk_targets"):
        raise KernelUnavailableError("this version has no losses for sparse targets")
    options: dict[str, Any] = {"targets": kernels.topk_targets(teacher_logits, k)}

    def run() -> Outputs:
        loss = distillation_loss(*student, divergence="forward-kl", once=True, **options)
        return gradients(loss.total, *student)

    return run


def sparse(settings: Settings) -> Experiment:
    """Forward KL to a teacher's top k and the rest, forward and backward."""
    positions, width, vocabulary, k = (16, 8, 257, 4) if settings.small else (1024, 768, 50_257, 64)
    states, heads = states_and_heads(positions, (width, width), vocabulary, settings)
    student = states[0].requires_grad_(), heads[0].requires_grad_()
    logits = functional.linear(states[1], heads[1])
    kept = functional.log_softmax(logits, 1).topk(k, 1)  # (N, K) log-probabilities and ids
    tail = 1.0 - kept.values.double().exp().sum(1)  # (N,)

    def naive(student: Pair) -> Outputs:
        dtype = student[0].dtype
        targets = kept.indices, kept.values.to(dtype), tail.to(dtype)
        return gradients(
            peers_torch.topk_tail_loss(functional.linear(*student), *targets), *student
        )

    return Experiment(
        title="top-k and rest distillation loss forward and backward, float32",
        shape={"N": positions, "H": width, "V": vocabulary, "K": k},
        candidates=(
            Candidate(
                name=f"{OURS} chunked",
                computes=_COMPUTES,
                prepare=lambda: _our_sparse(student, logits, k),
            ),
            _naive(lambda: naive(student)),
        ),
        truth=lambda: naive(_wide(student)),
        bars=(
            faster(f"{OURS} chunked", NAIVE, 1 / 1.15),
            smaller(f"{OURS} chunked", NAIVE, 1 / 1.5),
        ),
    )


EXPERIMENTS = {"jsd": jsd, "sparse": sparse}
