"""liger-kernel: its chunked losses run on CPUs, its Triton operators on GPUs only."""

import torch
from torch import Tensor
from torch.nn import functional

from auditor.bench.experiment import Candidate, Outputs, Package, Run
from auditor.errors import KernelUnavailableError

COMPILED = "liger compiled"
EAGER = "liger eager"
_PACKAGE = Package(module="liger_kernel", distribution="liger-kernel")


def chunked_jsd(states: tuple[Tensor, Tensor], heads: tuple[Tensor, Tensor]) -> list[Candidate]:
    """Return `LigerFusedLinearJSDLoss` with and without torch.compile.

    Args:
        states: (T, Hs) of the student, which gets a gradient, and (T, Ht) of the teacher.
        heads: (V, Hs), which gets a gradient, and (V, Ht).
    """

    def prepare(compiled: bool) -> Run:
        from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

        positions = states[0].shape[0]
        labels = torch.zeros(positions, dtype=torch.int64, device=states[0].device)
        loss = LigerFusedLinearJSDLoss(
            weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.5, compiled=compiled
        )

        def run() -> Outputs:
            # it returns the mean over positions
            total = loss(states[0], heads[0], states[1], heads[1], labels) * positions
            grad_h, grad_w = torch.autograd.grad(total, (states[0], heads[0]))
            return {"loss": total.detach(), "grad_h": grad_h, "grad_w": grad_w}

        return run

    computes = "loss, both gradients"
    return [
        Candidate(
            name=COMPILED,
            computes=computes,
            prepare=lambda: prepare(True),
            compiles=True,
            package=_PACKAGE,
        ),
        Candidate(name=EAGER, computes=computes, prepare=lambda: prepare(False), package=_PACKAGE),
    ]


def divergences(a: Tensor, b: Tensor) -> Candidate:
    """Return KL, JSD and TV by the Triton operators, with the log_softmax that they need."""

    def prepare() -> Run:
        if a.device.type != "cuda":
            raise KernelUnavailableError("liger's divergences are Triton kernels: GPU only")
        from liger_kernel.transformers.functional import liger_jsd, liger_kl_div, liger_tvd

        def run() -> Outputs:
            log_p, log_q = functional.log_softmax(a, 1), functional.log_softmax(b, 1)
            kl = liger_kl_div(log_q, log_p, reduction="none", log_target=True)
            tv = liger_tvd(log_p.exp(), log_q.exp(), reduction="none")
            return {
                "kl_ab": kl.sum(1) if kl.ndim == 2 else kl,
                "tv": tv.sum(1) if tv.ndim == 2 else tv,
                "mean_js": liger_jsd(log_q, log_p),
            }

        return run

    return Candidate(
        name="liger operators",
        computes="KL, TV, mean JS of 22 outputs",
        prepare=prepare,
        package=_PACKAGE,
    )
