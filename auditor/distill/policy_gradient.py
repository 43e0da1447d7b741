"""On-policy distillation by policy gradient: the teacher's log-probabilities are the reward."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from auditor.distill.objective import Teacher, live_head, scored_states, teacher_states
from auditor.distill.rollouts import BEHAVIOUR, OLD
from auditor.errors import InputError
from auditor.kernels import distillation_loss
from auditor.models.base import Head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LARGEST = 10.0
"""Nats that an advantage is clamped to, the bound of verl's distillation loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """What the targets of some batches looked like; sums over them."""

    targets: int
    k3: float
    """Of exp(d) - d - 1 with d = lt - ls: estimates KL(student || teacher), never negative."""
    clipped: int
    """Targets without a gradient, because their ratio left the clipping range."""
    clamped: int
    """Targets whose teacher and student were more than the clamp apart."""


class PolicyGradient:
    """Callable ``(student, batch of rollouts) -> sum of losses``.

    With ls the student's log-probability of a drawn token, lt the teacher's, ls_old and b those
    that the student had and that were drawn from, and sg what carries no gradient::

        r_t = clamp(sg(lt - ls_old))       A_t = sum_{k >= t} discount^(k - t) r_k
        loss = - sum_t exp(ls - b) A_t     or - sum_t min(w A_t, clip(w, 1 - c, 1 + c) A_t)

    with w = exp(ls - b). Drawn at temperature 1 without truncation, b is ls_old. The expected
    gradient is, without clamp and clip, at the weights that drew: with discount 0 that of
    KL(student || teacher) of each position, prefixes held fixed (what reverse-kl on the same
    batches gives); with discount 1 that of KL between whole answers, prefixes included. Drawn
    at another temperature, it is with discount 0 the same at the prefixes of the tempered student;
    truncation leaves out the tokens that cannot be drawn.

    The log ratio ls - lt (k1) is a reward here and never differentiated: its own gradient has mean
    zero and does not know the teacher. No logits exist beyond a chunk of the kernel's.
    """

    def __init__(
        self,
        form: Head,
        teacher: Teacher,
        *,
        clip: float | None = None,
        clamp: float | None = LARGEST,
        discount: float = 0.0,
    ) -> None:
        """Take the student's head form and a teacher whose module is loaded.

        Args:
            form: how the student's head turns states into logits.
            teacher: of the same real token ids.
            clip: distance of the ratio from 1 beyond which it earns nothing more, as in PPO
                (Schulman et al. 2017, arXiv 1707.06347, equation 7); None for none.
            clamp: largest |lt - ls_old| in nats, which biases the estimate where it is met, and
                keeps one token that the teacher never says from deciding a step; None for none.
            discount: weight of the rewards of later tokens, a power for each token.

        Raises:
            InputError: clip or clamp is not positive, or discount is outside [0, 1].
        """
        for name, value in (("clip", clip), ("clamp", clamp)):
            if value is not None and not value > 0:
                raise InputError(f"{name} is {value}", hint="give a positive number, or None")
        if not 0 <= discount <= 1:
            raise InputError(f"discount is {discount}", hint="give 0 to 1")
        self._form = form
        self._teacher = teacher
        self._clip = clip
        self._clamp = clamp
        self._discount = discount
        self._seen: list[Monitor] = []

    def __call__(self, module: "PreTrainedModel", batch: dict[str, Any]) -> Tensor:
        """Return the sum over the batch's targets, a scalar.

        Raises:
            InputError: the batch was not drawn from the student.
        """
        if OLD not in batch or BEHAVIOUR not in batch:
            raise InputError(
                "a policy gradient needs the log-probabilities that answers were drawn with",
                hint="give a batch of Sampler.draw; for others use a divergence",
            )
        states = scored_states(module, batch)  # (N, Ds)
        labels = batch["targets"][batch["scored"]]  # (N,)
        with torch.autocast(states.device.type, enabled=False):
            weight, bias = live_head(module, self._form.vocabulary)
            own = Head(weight=weight, bias=bias, softcap=self._form.softcap, scale=self._form.scale)
            with torch.no_grad():
                ls = -_surprise(states, own, labels).per_token.double()
                value, slope = self._loss(ls, self._teacher_logprobs(batch, labels), batch)
            # The kernel takes no negative weight: one call for each sign.
            down = _surprise(states, own, labels, (-slope).clamp(min=0)).total
            up = _surprise(states, own, labels, slope.clamp(min=0)).total
        carrier = down - up
        return value.to(carrier.dtype) + (carrier - carrier.detach())

    def monitor(self) -> Monitor:
        """Return the sums over the batches since the last call: a step's, asked at its end."""
        seen, self._seen = self._seen, []
        return Monitor(
            targets=sum(one.targets for one in seen),
            k3=sum(one.k3 for one in seen),
            clipped=sum(one.clipped for one in seen),
            clamped=sum(one.clamped for one in seen),
        )

    def _teacher_logprobs(self, batch: dict[str, Any], labels: Tensor) -> Tensor:
        """Return (N,) float64 lt of the drawn tokens, on the labels' device."""
        states = teacher_states(self._teacher, batch)
        head = self._teacher.head
        found = _surprise(states, head, labels.to(states.device))
        return -found.per_token.double().to(labels.device)

    def _loss(self, ls: Tensor, lt: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the sum of losses, and its derivative (N,) by ls."""
        reward = lt - batch[OLD].to(lt)
        limit = float("inf") if self._clamp is None else self._clamp
        advantage = _discounted(reward.clamp(-limit, limit), batch["scored"], self._discount)
        ratio = (ls - batch[BEHAVIOUR].to(ls)).exp()
        outside = torch.zeros_like(ratio, dtype=torch.bool)
        gain = ratio * advantage
        if self._clip is not None:
            bounded = ratio.clamp(1 - self._clip, 1 + self._clip) * advantage
            outside = bounded < gain
            gain = torch.minimum(gain, bounded)
        d = lt - ls
        self._seen.append(
            Monitor(
                targets=len(ls),
                k3=float((torch.expm1(d) - d).sum()),
                clipped=int(outside.sum()),
                clamped=int((reward.abs() > limit).sum()),
            )
        )
        return -gain.sum(), torch.where(outside, 0.0, -ratio * advantage)


def _surprise(states: Tensor, head: Head, labels: Tensor, weights: Tensor | None = None) -> Any:
    """Return the kernel's cross-entropy of (N, D) states on (N,) labels, by any head."""
    return distillation_loss(
        states,
        head.weight,
        divergence="cross-entropy",
        labels=labels,
        weights=weights,
        bias=(head.bias, None),
        softcap=(head.softcap, None),
        scale=(head.scale, 1.0),
    )


def _discounted(rewards: Tensor, scored: Tensor, discount: float) -> Tensor:
    """Return (N,) sums of the rewards from each target to the end of its row, discounted."""
    if discount == 0:
        return rewards
    table = torch.zeros(scored.shape, dtype=rewards.dtype, device=rewards.device)  # (B, L)
    table[scored] = rewards
    # Targets of a row stand side by side, so the places of a row are its tokens.
    for place in range(scored.shape[1] - 2, -1, -1):
        table[:, place] += discount * table[:, place + 1]
    return table[scored]
