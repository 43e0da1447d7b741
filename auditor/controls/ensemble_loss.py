"""Losses of an ensemble's head and their gradients, in chunks that stay in the cache."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.controls.ensemble_affine import Affine, folded, write_folded

_CHUNK_BYTES = {"cpu": 1 << 20, "cuda": 1 << 30}
"""Logits that exist at once: about an L2 cache, or a good share of a GPU."""


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """The teacher of some columns: its normalised states and its folded head, of one model."""

    states: Tensor
    """(dt, N)."""
    weight: Tensor
    """(V, dt)."""
    bias: Tensor | None
    """(V, 1)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """What the columns of a head's input are to predict."""

    labels: Tensor
    """(G, N) next tokens."""
    rates: Tensor | None = None
    """(G, N) weights of the columns; None: 1."""
    taught: Taught | None = None
    """Learn the teacher's distribution instead of the labels; G is 1."""
    temperature: float = 1.0
    """Of both softmaxes, where there is a teacher."""


class HeadPass:
    """Sums losses and gradients of a head over groups of columns."""

    def __init__(self, head: Affine, per_token: float) -> None:
        """`per_token`: factor of each column's loss."""
        self._head = head
        self._map = folded(head)
        self._scale = per_token
        self._dweight = torch.zeros_like(self._map.weight, memory_format=torch.contiguous_format)
        self._dbias = (
            torch.zeros_like(self._map.weight[:, :, 0]) if head.shift is not None else None
        )
        self.losses = torch.zeros(head.weight.shape[0], device=head.weight.device)
        """(E,): the weighted loss of each member so far, in nats."""

    def add(self, x: Tensor, dx: Tensor, members: slice, targets: Targets) -> None:
        """Add the loss of columns x (G, d, N) of some members; write their gradient into `dx`."""
        weight = self._map.weight[members]
        bias = None if self._map.bias is None else self._map.bias[members].transpose(1, 2)
        step = max(
            1, _CHUNK_BYTES.get(x.device.type, 1 << 20) // (4 * weight.shape[1] * x.shape[0])
        )
        for first in range(0, x.shape[2], step):
            at = slice(first, first + step)
            columns = x[:, :, at]
            z = _logits(columns, weight, bias)
            loss, g = _loss(z, targets, at)
            if targets.rates is not None:
                loss.mul_(targets.rates[:, at])
                g.mul_(targets.rates[:, at, None])
            self.losses[members].add_(loss.sum(1), alpha=self._scale)
            dx[:, :, at] = torch.bmm(weight.transpose(1, 2), g.transpose(1, 2)).mul_(self._scale)
            self._dweight[members].baddbmm_(
                g.transpose(1, 2), columns.transpose(1, 2), alpha=self._scale
            )
            if self._dbias is not None:
                self._dbias[members].add_(g.sum(1), alpha=self._scale)

    def write(self, into: Affine) -> None:
        """Write the head's gradients; the pass is used up."""
        write_folded(self._head, into, self._dweight, self._dbias)


def _logits(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return (G, n, V) from (G, d, n)."""
    if bias is None:
        return torch.bmm(x.transpose(1, 2), weight.transpose(1, 2))
    return torch.baddbmm(bias, x.transpose(1, 2), weight.transpose(1, 2))


def _loss(z: Tensor, targets: Targets, at: slice) -> tuple[Tensor, Tensor]:
    """Return the loss (G, n) of each column and its gradient for the logits z (G, n, V)."""
    if targets.taught is None:
        return _cross_entropy(z, targets.labels[:, at, None])
    taught = targets.taught
    bias = None if taught.bias is None else taught.bias[None].transpose(1, 2)
    zt = _logits(taught.states[None, :, at], taught.weight[None], bias)
    return _forward_kl(z, zt, targets.temperature)


def _softmax(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the softmax of z and the logarithm of its normaliser, (G, n)."""
    p = torch.softmax(z, 2)
    # The largest probability is at least 1 / V, so its logarithm is safe: one pass less of exp.
    return p, z.amax(2).sub_(p.amax(2).log_())


def _cross_entropy(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    p, normaliser = _softmax(z)
    loss = normaliser.sub_(z.gather(2, labels)[:, :, 0])
    return loss, p.scatter_add_(2, labels, torch.full_like(labels, -1, dtype=p.dtype))


def _forward_kl(z: Tensor, zt: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Return KL(teacher || student) at temperature tau, times tau^2, and its gradient.

    Hinton et al. 2015 (arXiv 1503.02531), section 2: tau^2 keeps the gradient's size.
    """
    if tau != 1.0:
        z, zt = z / tau, zt / tau
    p, normaliser = _softmax(z)
    pt, normaliser_t = _softmax(zt)
    gap = zt.sub_(z).mul_(pt).sum(2)
    loss = gap.add_(normaliser).sub_(normaliser_t).mul_(tau * tau)
    return loss, p.sub_(pt).mul_(tau)
