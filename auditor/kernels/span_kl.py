"""Span KL: two models compared by the log-probabilities of the same spans of bytes.

Needs nothing but the log-probability of each token that is there, so any API will do. The
log-probability of a span is the sum of those of its tokens (chain rule), which does not depend on
how a side cuts it.
"""

import torch
from torch import Tensor

from auditor.errors import InputError
from auditor.kernels.cross_vocabulary import live_logits
from auditor.kernels.projection import Projection

LARGEST = 10.0
"""Nats that an advantage is clamped to, as in verl's distillation loss."""


def token_logprobs(side: Projection, labels: Tensor, *, chunk: int = 256) -> Tensor:
    """Return (T,) log-probabilities of labels in nats, with logits of one chunk at a time.

    Differentiable: backward computes each chunk's logits again. Gradients flow to the hidden
    states, the weight and the bias.

    Args:
        side: T positions.
        labels: (T,) int64 token ids.
        chunk: positions whose logits exist at once.

    Raises:
        InputError: shapes do not fit, a label is no row of the head, or chunk is below 1.
    """
    from torch.utils.checkpoint import checkpoint

    side.check()
    if chunk < 1:
        raise InputError(f"chunk must be at least 1 position, found {chunk}")
    if labels.shape != (side.positions,) or labels.dtype != torch.int64:
        raise InputError(
            f"labels must be ({side.positions},) int64, found {tuple(labels.shape)} {labels.dtype}"
        )
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < side.vocabulary:
        raise InputError(f"labels must lie in 0 .. {side.vocabulary - 1}")

    def part(hidden: Tensor, wanted: Tensor) -> Tensor:
        logits = live_logits(side, hidden)
        return logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(1)

    # With no position the result still hangs on the weights, with a gradient of zeros.
    nothing = (side.hidden.sum() + side.weight.sum()).to(side.dtype) * 0.0
    parts = [
        checkpoint(
            part,
            side.hidden[start : start + chunk],
            labels[start : start + chunk],
            use_reentrant=False,
        )
        for start in range(0, side.positions, chunk)
    ]
    return torch.cat(parts) + nothing if parts else nothing.expand(0)


def span_logprobs(logprobs: Tensor, groups: Tensor, count: int) -> Tensor:
    """Return (G,) sums of token log-probabilities; differentiable.

    Args:
        logprobs: (T,) of the tokens that the text holds, in nats.
        groups: (T,) int64: span of each token; -1 for a token that is in none.
        count: G.

    Raises:
        InputError: shapes differ or a group is outside -1 .. G-1.
    """
    if logprobs.ndim != 1 or logprobs.shape != groups.shape:
        raise InputError(
            f"log-probabilities {tuple(logprobs.shape)} and groups {tuple(groups.shape)} must be "
            "(T,) both"
        )
    if groups.numel() and not -1 <= int(groups.min()) <= int(groups.max()) < count:
        raise InputError(f"groups must lie in -1 .. {count - 1}")
    kept = groups >= 0
    wide = logprobs if logprobs.dtype == torch.float64 else logprobs.float()
    return wide.new_zeros(count).index_add(0, groups[kept], wide[kept])


def span_gap_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return (G,) squared gaps (log P_s - log P_t)^2 / 2 of the spans, never negative.

    The mean of log P_s - log P_t (k1) over spans that the student drew is an unbiased estimate of
    KL(student || teacher), but must not be differentiated: its own gradient has mean zero and does
    not know the teacher. This one (k2) has the gradient (log P_s - log P_t) d log P_s, whose mean
    over the student's draws is exactly that of the KL. On other texts, such as the teacher's, it
    is a regression on the teacher's log-probabilities; it is 0 if and only if all spans agree.

    Args:
        student: (G,) log-probabilities, gets a gradient.
        teacher: (G,), gets none.

    Raises:
        InputError: shapes differ, or the teacher's values are not finite.
    """
    _check(student, teacher)
    return 0.5 * (student - teacher.detach().to(student)).square()


def span_policy_loss(
    student: Tensor,
    teacher: Tensor,
    drawn: Tensor | None = None,
    *,
    clamp: float | None = LARGEST,
) -> Tensor:
    """Return (G,) policy-gradient losses -exp(log P_s - log P_drawn) A, A = log P_t - log P_drawn.

    For spans that the student drew, with the log-probabilities that it had then. A is a reward and
    carries no gradient. At the weights that drew, without the clamp, the gradient is that of
    `span_gap_loss`, and in the mean that of KL(student || teacher); the ratio keeps it right after
    further steps. The value itself is -A, whose mean estimates the KL: it may be negative.

    Args:
        student: (G,) log-probabilities now, gets a gradient.
        teacher: (G,), gets none.
        drawn: (G,) of the student when it drew; None if it is the student of now.
        clamp: largest |A| in nats, which biases the estimate where it is met; None for none.

    Raises:
        InputError: shapes differ, values are not finite, or the clamp is not positive.
    """
    _check(student, teacher)
    old = student.detach() if drawn is None else drawn.detach().to(student)
    _check(student, old)
    if clamp is not None and not clamp > 0:
        raise InputError(f"clamp is {clamp}", hint="give a positive number of nats, or None")
    limit = float("inf") if clamp is None else clamp
    advantage = (teacher.detach().to(student) - old).clamp(-limit, limit)
    return -(student - old).exp() * advantage


def _check(student: Tensor, other: Tensor) -> None:
    if student.ndim != 1 or student.shape != other.shape:
        raise InputError(
            f"spans of {tuple(student.shape)} and {tuple(other.shape)} log-probabilities do not fit"
        )
    if not bool(torch.isfinite(other).all()):
        raise InputError(
            "a span's log-probability is not finite", hint="leave spans without one out"
        )
