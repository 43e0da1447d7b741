"""Affine maps of many members at once, with the gain of the norm before them folded in.

Activations are kept as (E, features, N), N = sequences x tokens: norms then reduce over rows, the
halves of a matrix are contiguous, and every matrix product writes long rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """y = W (gain * x + shift) + bias; also the place for its gradients, of the same form."""

    weight: Tensor
    """(E, out, in); any strides."""
    bias: Tensor | None = None
    """(E, out)."""
    gain: Tensor | None = None
    """(E, in), of the norm before."""
    shift: Tensor | None = None
    """(E, in), of the norm before."""


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """The same map as y = W x + bias: a norm's gain costs nothing a token."""

    weight: Tensor
    bias: Tensor | None
    """(E, out, 1)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return (E, out, N) from (E, in, N)."""
        if self.bias is None:
            return torch.bmm(self.weight, x)
        return torch.baddbmm(self.bias, self.weight, x)

    def added_to(self, base: Tensor, x: Tensor) -> Tensor:
        """Return base + y."""
        y = torch.baddbmm(base, self.weight, x)
        return y if self.bias is None else y.add_(self.bias)

    def backward(self, dy: Tensor) -> Tensor:
        """Return dx, (E, in, N)."""
        return torch.bmm(self.weight.transpose(1, 2), dy)


def folded(affine: Affine) -> Folded:
    """Return the map with the norm's gain and shift multiplied into its weight and bias."""
    weight, bias = affine.weight, affine.bias
    if affine.shift is not None:
        moved = torch.bmm(weight, affine.shift[:, :, None])  # (E, out, 1)
        bias = moved if bias is None else moved.add_(bias[:, :, None])
    elif bias is not None:
        bias = bias[:, :, None]
    if affine.gain is not None:
        weight = weight * affine.gain[:, None]
    return Folded(weight, bias)


def write_gradients(affine: Affine, into: Affine, x: Tensor, dy: Tensor) -> None:
    """Write the gradients of an affine map, given its input (E, in, N) and dy (E, out, N)."""
    dbias = None if affine.bias is None and affine.shift is None else dy.sum(2)
    write_folded(affine, into, torch.bmm(dy, x.transpose(1, 2)), dbias)


def write_folded(affine: Affine, into: Affine, dweight: Tensor, dbias: Tensor | None) -> None:
    """Write the gradients that follow from those of the folded map.

    With W' = W diag(gain) and b' = bias + W shift:
    dW = dW' diag(gain) + db' shift^T, dgain = column sums of dW' * W, dshift = W^T db'.

    Args:
        affine: the map.
        into: where to write.
        dweight: (E, out, in), dW'; overwritten.
        dbias: (E, out), db'; needed where the map has a bias or a shift.
    """
    if affine.gain is not None and into.gain is not None:
        torch.sum(dweight * affine.weight, 1, out=into.gain)
        dweight.mul_(affine.gain[:, None])
    if affine.shift is not None and into.shift is not None and dbias is not None:
        into.shift.copy_(torch.bmm(affine.weight.transpose(1, 2), dbias[:, :, None])[:, :, 0])
        dweight.baddbmm_(dbias[:, :, None], affine.shift[:, None])
    if into.bias is not None and dbias is not None:
        into.bias.copy_(dbias)
    into.weight.copy_(dweight)
