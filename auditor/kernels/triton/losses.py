"""Launches the loss kernels: rows of logits become losses and, in place, gradients."""

from dataclasses import dataclass

from torch import Tensor

from auditor.kernels.divergences import Mixture
from auditor.kernels.triton import loss_gradients

WARPS = 8
BLOCK = 2048
"""Columns at a time: 8 a thread, which compiles to at most 80 registers and no spill on Hopper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLoss:
    """What to compute on each row."""

    mixture: Mixture
    tau: float
    softcap: float | None
    """Of the student's head."""
    with_gradient: bool

    def divergence(self, student: Tensor, teacher: Tensor, rates: Tensor) -> Tensor:
        """Return (R,) float32 divergences; `student` becomes the gradient of h W^T + b.

        Args:
            student: (R, V) logits, float32, bfloat16 or float16, rows contiguous. Overwritten by
                rate * (dD / d tempered logits), and by the derivative of the softcap, unless
                no gradient is wanted.
            teacher: (R, V) logits, unchanged.
            rates: (R,) float32.
        """
        loss = rates.new_empty(student.shape[0])
        loss_gradients.divergence_rows[(student.shape[0],)](
            student,
            teacher,
            loss,
            rates,
            student.stride(0),
            teacher.stride(0),
            1.0 / self.tau,
            self.mixture.beta,
            self.mixture.factor,
            1.0 if self.softcap is None else 1.0 / self.softcap,
            kind=self.mixture.kind,
            capped=self.softcap is not None,
            with_gradient=self.with_gradient,
            size=student.shape[1],
            block=block_of(student.shape[1]),
            num_warps=WARPS,
        )
        return loss

    def cross_entropy(self, student: Tensor, labels: Tensor, rates: Tensor) -> Tensor:
        """Return (R,) float32 -log s at `labels` (R,) int64; `student` as in `divergence`."""
        loss = rates.new_empty(student.shape[0])
        loss_gradients.cross_entropy_rows[(student.shape[0],)](
            student,
            labels,
            loss,
            rates,
            student.stride(0),
            1.0 / self.tau,
            1.0 if self.softcap is None else 1.0 / self.softcap,
            capped=self.softcap is not None,
            with_gradient=self.with_gradient,
            size=student.shape[1],
            block=block_of(student.shape[1]),
            num_warps=WARPS,
        )
        return loss


def block_of(vocabulary: int) -> int:
    """Return the columns a program works on at once: a power of two, at most `BLOCK`."""
    return min(BLOCK, max(WARPS * 32, 1 << (vocabulary - 1).bit_length()))
