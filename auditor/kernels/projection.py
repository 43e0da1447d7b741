"""Hidden states to logits, a chunk of positions at a time, in float32 and in reused buffers.

``logits = softcap * tanh(scale * (h W^T + b) / softcap)``, as `auditor.models.base.Head` has it.

A weight of another type than the buffers is read in tiles of vocabulary rows, converted one at a
time, so a half-precision head needs no second copy; others take one product, which is up to 1.7
times as fast. Hidden states and unaligned weights are always copied, and sides that are compared
take products of one width (`alike`): two models with equal numbers then meet the same matrix
product on equally aligned memory, and their logits agree to the last bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from auditor.errors import InputError, VocabularyError
from auditor.kernels.products import Products

TILE = 4096
"""Vocabulary rows per matrix product, where a weight has to be converted."""
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projection:
    """One model's final hidden states and head."""

    name: str
    """What messages call this side, e.g. ``a`` or ``s``."""
    hidden: Tensor
    """(T, D)."""
    weight: Tensor
    """(V, D)."""
    bias: Tensor | None = None
    """(V,)."""
    softcap: float | None = None
    scale: float = 1.0
    tile: int | None = None
    """Vocabulary rows per matrix product. None: all, or TILE where they have to be converted."""

    @property
    def positions(self) -> int:
        """T."""
        return int(self.hidden.shape[0])

    @property
    def vocabulary(self) -> int:
        """V."""
        return int(self.weight.shape[0])

    @property
    def dtype(self) -> torch.dtype:
        """What logits are computed in: float64 for float64 input, else float32."""
        wide = torch.float64 in (self.hidden.dtype, self.weight.dtype)
        return torch.float64 if wide else torch.float32

    def check(self) -> None:
        """Raise `InputError` where shapes, types, devices, softcap or scale do not fit."""
        n = self.name
        for label, table in ((f"h_{n}", self.hidden), (f"w_{n}", self.weight)):
            if table.ndim != 2:
                raise InputError(f"{label} must have two axes, found {tuple(table.shape)}")
            if not table.dtype.is_floating_point:
                raise InputError(f"{label} must be floating point, found {table.dtype}")
        if self.hidden.shape[1] != self.weight.shape[1]:
            raise InputError(
                f"h_{n} has width {self.hidden.shape[1]} and w_{n} reads {self.weight.shape[1]}"
            )
        if self.vocabulary == 0:
            raise VocabularyError(f"w_{n} has no token id (V = 0)")
        self._check_head()

    def _check_head(self) -> None:
        n = self.name
        if self.bias is not None and self.bias.shape != (self.vocabulary,):
            raise InputError(
                f"bias of {n} must be ({self.vocabulary},), found {tuple(self.bias.shape)}"
            )
        if self.softcap is not None and not self.softcap > 0:
            raise InputError(f"softcap of {n} must be positive, found {self.softcap}")
        if self.scale == 0:
            raise InputError(f"scale of {n} must not be 0")
        if self.hidden.device != self.weight.device:
            raise InputError(f"h_{n} is on {self.hidden.device}, w_{n} on {self.weight.device}")

    def buffer(self, rows: int) -> Tensor:
        """Return an uninitialised (rows, V) table for `logits_into`."""
        return torch.empty((rows, self.vocabulary), dtype=self.dtype, device=self.hidden.device)

    def logits_into(self, out: Tensor, rows: Tensor | slice) -> Tensor:
        """Write the logits of the picked positions into `out` (R, V) and return it."""
        hidden = Products(self.hidden_rows(rows))  # (R, D)
        for start, tile in self.tiles():
            hidden.into(out[:, start : start + tile.shape[0]], tile)
        if self.bias is not None:
            out.add_(self.bias.to(self.dtype))
        return self._shaped(out)

    def tiles(self) -> Iterator[tuple[int, Tensor]]:
        """Yield (first row, rows of the weight in the compute type); each lives one step."""
        return weight_tiles(self.weight, self.dtype, self.tile)

    def hidden_rows(self, rows: Tensor | slice) -> Tensor:
        """Return a fresh (R, D) copy of the picked hidden states in the compute type."""
        return self.hidden[rows].to(self.dtype, copy=True).contiguous()

    def _shaped(self, logits: Tensor) -> Tensor:
        if self.softcap is None:
            return logits if self.scale == 1.0 else logits.mul_(self.scale)
        return logits.mul_(self.scale / self.softcap).tanh_().mul_(self.softcap)

    def unshape_gradient(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """Turn dL/dlogits (R, V) in place into the gradient of h W^T + b; `logits` is used up."""
        if self.softcap is not None:  # d softcap tanh(u) / du = softcap (1 - tanh^2)
            gradient.mul_(logits.div_(self.softcap).square_().neg_().add_(1.0))
        return gradient if self.scale == 1.0 else gradient.mul_(self.scale)


def alike(sides: list[Projection]) -> list[Projection]:
    """Return the sides with products of one width: the widest that all can take."""
    direct = all(_usable(side.weight, side.dtype) for side in sides)
    return [replace(side, tile=side.vocabulary if direct else TILE) for side in sides]


def weight_tiles(
    weight: Tensor, dtype: torch.dtype, rows: int | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, some rows of `weight` as `dtype`); each lives one step.

    Args:
        weight: (V, D).
        dtype: of what is yielded.
        rows: how many at a time; None: all, or TILE where they have to be converted.
    """
    total, width = weight.shape
    usable = _usable(weight, dtype)
    step = max(1, rows or (total if usable else TILE))
    buffer = None if usable else torch.empty((step, width), dtype=dtype, device=weight.device)
    for start in range(0, int(total), step):
        tile = weight[start : start + step]
        yield start, tile if buffer is None else buffer[: tile.shape[0]].copy_(tile)


def _usable(weight: Tensor, dtype: torch.dtype) -> bool:
    """Say whether products can read the weight itself."""
    aligned = weight.data_ptr() % _ALIGNMENT == 0
    return weight.dtype == dtype and weight.is_contiguous() and aligned
