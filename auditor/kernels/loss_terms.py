"""Each distillation loss on a block of rows, with its closed-form gradient.

Every loss is D = sum over v of f(s_v, t_v) with s the student's and t the teacher's softmax. With
pull_v = s_v df/ds_v, the gradient for the student's (tempered) logits is pull_v - s_v sum(pull).
A multiple of s in the pull cancels, so it is left out. Tables given are overwritten.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Softmax:
    """Log-probabilities and probabilities of a block of logits, (R, V); all finite."""

    log: Tensor
    p: Tensor


class Terms(NamedTuple):
    """Of a block of R rows."""

    value: Tensor
    """(R,): D, up to rounding."""
    gradient: Tensor
    """(R, V): dD / d tempered student logits."""


def tempered_softmax(logits: Tensor, tau: float) -> Softmax:
    """Return the softmax of `tempered` logits."""
    table = tempered(logits, tau)
    # Not exp of the logarithm: exp is many times slower where its result underflows. The most
    # probable token has exp(0) over the sum of exps, so that sum is not computed again.
    p = torch.softmax(table, 1)
    log_sum = p.amax(1, keepdim=True).log_()  # (R, 1): minus it
    return Softmax((table - table.amax(1, keepdim=True)).add_(log_sum), p)


def tempered(logits: Tensor, tau: float) -> Tensor:
    """Return finite logits / tau; impossible tokens become very improbable ones.

    `logits` are overwritten where they are -inf, and returned themselves for tau 1.
    """
    floor = torch.finfo(logits.dtype).min / 2
    logits.clamp_(min=floor)
    return logits if tau == 1.0 else (logits / tau).clamp_(min=floor)


def cross_entropy(student: Softmax, labels: Tensor) -> Terms:
    """Return -log s at the labels (R,)."""
    at = labels[:, None]
    value = -student.log.gather(1, at)[:, 0]
    return Terms(value, student.p.scatter_add_(1, at, -torch.ones_like(at, dtype=value.dtype)))


def divergence(kind: str, student: Softmax, teacher: Softmax, beta: float) -> Terms:
    """Return a divergence of `auditor.kernels.divergences`, beta inside (0, 1) where it is used."""
    return _TERMS[kind](student, teacher, beta)


def _forward_kl(student: Softmax, teacher: Softmax, _beta: float) -> Terms:
    value = teacher.log.sub_(student.log).mul_(teacher.p).sum(1)
    return Terms(value, student.p.sub_(teacher.p))


def _reverse_kl(student: Softmax, teacher: Softmax, _beta: float) -> Terms:
    gap = student.log.sub_(teacher.log)
    value = torch.mul(gap, student.p, out=teacher.p).sum(1)
    return Terms(value, gap.sub_(value[:, None]).mul_(student.p))


def _jsd(student: Softmax, teacher: Softmax, beta: float) -> Terms:
    log_mix = _mixture(teacher.p, student.p, beta).log_()
    student_gap = student.log.sub_(log_mix)
    teacher_gap = teacher.log.sub_(log_mix)
    kl_student = torch.mul(student_gap, student.p, out=log_mix).sum(1)
    kl_teacher = teacher_gap.mul_(teacher.p).sum(1)
    gradient = student_gap.sub_(kl_student[:, None]).mul_(student.p).mul_(1.0 - beta)
    return Terms(beta * kl_teacher + (1.0 - beta) * kl_student, gradient)


def _skew_kl(student: Softmax, teacher: Softmax, beta: float) -> Terms:
    mix = _mixture(teacher.p, student.p, beta)
    pull = torch.div(teacher.p, mix, out=student.log).mul_(student.p).mul_(beta - 1.0)
    value = teacher.log.sub_(mix.log_()).mul_(teacher.p).sum(1)
    return Terms(value, _through_softmax(pull, student.p))


def _skew_rkl(student: Softmax, teacher: Softmax, beta: float) -> Terms:
    mix = _mixture(student.p, teacher.p, beta)
    share = torch.div(student.p, mix, out=teacher.p)
    gap = student.log.sub_(mix.log_())
    value = torch.mul(gap, student.p, out=mix).sum(1)
    pull = gap.sub_(share, alpha=beta).mul_(student.p)
    return Terms(value, _through_softmax(pull, student.p))


def _tvd(student: Softmax, teacher: Softmax, _beta: float) -> Terms:
    gap = torch.sub(student.p, teacher.p, out=teacher.p)
    value = 0.5 * torch.abs(gap, out=teacher.log).sum(1)
    pull = gap.sign_().mul_(student.p).mul_(0.5)
    return Terms(value, _through_softmax(pull, student.p))


def _through_softmax(pull: Tensor, p: Tensor) -> Tensor:
    return pull.addcmul_(p, pull.sum(1, keepdim=True), value=-1.0)


def _mixture(p: Tensor, q: Tensor, weight: float) -> Tensor:
    """Return weight p + (1 - weight) q, kept from 0: where both are 0, so are its factors."""
    mix = torch.mul(p, weight).add_(q, alpha=1.0 - weight)
    return mix.clamp_(min=torch.finfo(mix.dtype).tiny)


_TERMS = {
    "forward-kl": _forward_kl,
    "reverse-kl": _reverse_kl,
    "jsd": _jsd,
    "skew-kl": _skew_kl,
    "skew-rkl": _skew_rkl,
    "tvd": _tvd,
}
