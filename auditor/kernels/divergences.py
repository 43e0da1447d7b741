"""Divergences between student and teacher as training losses, on whole logit tables.

s, t are the softmaxes of the student's and the teacher's logits at temperature tau, ls and lt
their logarithms. Formulas: Hinton et al. 2015 (forward KL), Gu et al. 2306.08543 (reverse KL),
Agarwal et al. 2306.13649 eq. 1 (generalised JSD), Ko et al. 2402.03898 (skew KL), Wen et al.
2307.15190 (total variation). No factor tau^2: multiply the loss by it to keep the size of the
gradient over temperatures.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from auditor.errors import InputError, VocabularyError

Divergence = Literal["forward-kl", "reverse-kl", "jsd", "skew-kl", "skew-rkl", "tvd"]


@dataclass(frozen=True, slots=True)
class Mixture:
    """A divergence with its mixing weight; limits of beta are replaced by the KL they tend to."""

    kind: str
    beta: float
    factor: float = 1.0
    """What the value is multiplied with."""


def checked_mixture(kind: str, beta: float, normalise: bool) -> Mixture:
    """Return the divergence to compute.

    `jsd` takes beta in [0, 1]: the weight of the teacher in the mixture; 0 is defined as forward
    KL and 1 as reverse KL. `normalise` divides by beta (1 - beta), which makes these limits
    continuous. The skew divergences take beta in [0, 1): the weight of the distribution whose
    logarithm is not replaced; 0 is the plain KL.

    Raises:
        InputError: an unknown name or a beta outside its range.
    """
    if kind not in get_args(Divergence):
        raise InputError(
            f"unknown divergence {kind!r}", hint="choose one of " + ", ".join(get_args(Divergence))
        )
    mixed = kind in ("jsd", "skew-kl", "skew-rkl")
    top = "1]" if kind == "jsd" else "1)"
    if mixed and not (0.0 <= beta < 1.0 or (beta == 1.0 and kind == "jsd")):
        raise InputError(f"beta of {kind} must be in [0, {top}, found {beta}")
    limits = {
        ("jsd", 0.0): "forward-kl",
        ("jsd", 1.0): "reverse-kl",
        ("skew-kl", 0.0): "forward-kl",
        ("skew-rkl", 0.0): "reverse-kl",
    }
    if mixed and (kind, beta) in limits:
        return Mixture(limits[kind, beta], 0.0)
    factor = 1.0 / (beta * (1.0 - beta)) if kind == "jsd" and normalise else 1.0
    return Mixture(kind, beta, factor)


def checked_temperature(temperature: float) -> float:
    """Return the temperature, or raise `InputError` unless it is positive and finite."""
    if not (0.0 < temperature < math.inf):
        raise InputError(f"temperature must be positive, found {temperature}")
    return float(temperature)


def divergence_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    divergence: str,
    beta: float = 0.5,
    temperature: float = 1.0,
    normalise: bool = False,
) -> Tensor:
    """Return (T,) divergence of student from teacher at each position, in nats; differentiable.

    Computed in float32 (float64 if an input is). An impossible token (-inf) counts as a very
    improbable one: where only one side forbids it, a KL is huge but finite.

    Args:
        student_logits: (T, V), gets a gradient.
        teacher_logits: (T, V), gets none.
        divergence: "forward-kl", "reverse-kl", "jsd", "skew-kl", "skew-rkl" or "tvd".
        beta: see `checked_mixture`.
        temperature: divides both logits.
        normalise: divide "jsd" by beta (1 - beta).

    Raises:
        InputError: shapes, name, beta or temperature are not usable.
        VocabularyError: the tables differ in width.
    """
    mixture = checked_mixture(divergence, beta, normalise)
    tau = checked_temperature(temperature)
    _check_tables(student_logits, teacher_logits)
    ls = tempered_log_softmax(student_logits, tau)
    lt = tempered_log_softmax(teacher_logits.detach(), tau).to(ls.dtype)
    value = _value(mixture, ls, lt) * mixture.factor
    # Rounding can leave -1e-8 for equal inputs. Lift the value, keep the gradient.
    return value + (value.clamp(min=0.0) - value).detach()


def tempered_log_softmax(logits: Tensor, tau: float) -> Tensor:
    """Return (T, V) finite log-probabilities in float32 (float64 stays)."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    floor = torch.finfo(wide.dtype).min / 2
    return torch.log_softmax((wide / tau).clamp(min=floor), dim=-1)


def _value(mixture: Mixture, ls: Tensor, lt: Tensor) -> Tensor:
    s, t, beta = ls.exp(), lt.exp(), mixture.beta
    if mixture.kind == "forward-kl":
        return (t * (lt - ls)).sum(-1)
    if mixture.kind == "reverse-kl":
        return (s * (ls - lt)).sum(-1)
    if mixture.kind == "tvd":
        return 0.5 * (s - t).abs().sum(-1)
    if mixture.kind == "skew-kl":
        return (t * (lt - _log_mixture(lt, ls, beta))).sum(-1)
    if mixture.kind == "skew-rkl":
        return (s * (ls - _log_mixture(ls, lt, beta))).sum(-1)
    lm = _log_mixture(lt, ls, beta)
    return beta * (t * (lt - lm)).sum(-1) + (1.0 - beta) * (s * (ls - lm)).sum(-1)


def _log_mixture(log_p: Tensor, log_q: Tensor, weight: float) -> Tensor:
    """Return log(weight p + (1 - weight) q) for a weight inside (0, 1)."""
    return torch.logaddexp(log_p + math.log(weight), log_q + math.log1p(-weight))


def _check_tables(student: Tensor, teacher: Tensor) -> None:
    for name, table in (("student_logits", student), ("teacher_logits", teacher)):
        if table.ndim != 2 or not table.dtype.is_floating_point:
            raise InputError(
                f"{name} must be (T, V) floating point, found {tuple(table.shape)} {table.dtype}"
            )
    if student.shape[0] != teacher.shape[0]:
        raise InputError(f"student has {student.shape[0]} positions, teacher {teacher.shape[0]}")
    if student.shape[1] != teacher.shape[1]:
        raise VocabularyError(
            f"student has {student.shape[1]} token ids and teacher {teacher.shape[1]}",
            hint="cut both to the real token ids of a common tokenizer before the softmax",
        )
