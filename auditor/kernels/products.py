"""The one product of float32 tables that everything large here waits for: ``x w^T``.

On CPUs `torch.mm` calls MKL, which on processors of other makers than its own is half as fast as
oneDNN, the other library that torch carries (measured: 185 against 306 GFLOP/s on two cores of an
AMD EPYC; kernels with a Gram or logits are mostly this product). oneDNN sums along the whole
width in one order, MKL in stretches of 192; so the width is cut here as well, or the error would
grow with its root (at a width of 4,096: 3.7e-5 instead of 1.7e-5 for entries of spread 64).

The order of sums follows from the shapes alone: the same numbers give the same bits, on whatever
memory they lie.
"""

import functools
from typing import Any

import torch
from torch import Tensor

_STRETCH = 256
"""Width summed in one go, at most."""
_ROWS = 1024
"""Rows of w in a product: its result stays in cache until it is copied."""
_WIDTH = 16 * _STRETCH
"""Width of a table that is copied at once."""
_MANY = 64
"""Rows of x from which on it is faster."""
_LARGE = 1 << 16
"""Numbers in w from which on it is faster."""


class Products:
    """Products of one (R, K) table `x` with others; `x` must not change meanwhile."""

    def __init__(self, x: Tensor) -> None:
        """Take x: (R, K), floating point."""
        self._x = x
        self._cuts = _cuts(x.shape[1]) if len(x) >= _MANY and _by_onednn(x) else []
        self._pieces = [x[:, cut].contiguous() for cut in self._cuts]

    def into(self, out: Tensor, w: Tensor) -> Tensor:
        """Write ``x w^T`` into `out` and return it.

        Args:
            out: (R, N), of the type of x.
            w: (N, K), of the same type.
        """
        if not self._pieces or not _fits(w):
            return torch.mm(self._x, w.T, out=out)
        for start in range(0, w.shape[0], _ROWS):
            rows = w[start : start + _ROWS]
            out[:, start : start + _ROWS].copy_(self._times(rows))
        return out

    def _times(self, rows: Tensor) -> Tensor:
        """Return ``x rows^T`` (R, n), stretch by stretch of the width."""
        linear = _linear()
        (first, *pieces), (start, *cuts) = self._pieces, self._cuts
        found = linear(first, rows[:, start].contiguous(), None, "none", [], "")
        for piece, cut in zip(pieces, cuts, strict=True):
            # contiguous: on other layouts oneDNN is a thousand times slower
            found = linear.binary(piece, found, rows[:, cut].contiguous(), None, "add")
        return found


def product(x: Tensor, w: Tensor) -> Tensor:
    """Return ``x w^T`` (R, N) for x (R, K) and w (N, K) of one floating type."""
    return Products(x).into(x.new_empty((x.shape[0], w.shape[0])), w)


def add_product(total: Tensor, x: Tensor, w: Tensor) -> None:
    """Add ``x w^T`` to `total` (R, N), for x (R, K) and w (N, K) of its type."""
    if len(x) >= _MANY and _by_onednn(x) and _fits(w):
        for start in range(0, x.shape[1], _WIDTH):
            total.add_(product(x[:, start : start + _WIDTH], w[:, start : start + _WIDTH]))
    else:
        total.addmm_(x, w.T)


def add_outer_products(total: Tensor, x: Tensor, y: Tensor) -> None:
    """Add ``x^T y`` to `total` (N, D), for x (R, N) and y (R, D) of its type."""
    right = y.T
    if x.shape[1] >= _MANY and _by_onednn(x) and _fits(right):
        right = right.contiguous()
        for start in range(0, x.shape[1], _ROWS):  # its copies of x and of the result stay small
            total[start : start + _ROWS].add_(product(x[:, start : start + _ROWS].T, right))
    else:
        total.addmm_(x.T, y)


def _fits(w: Tensor) -> bool:
    """Say whether products with `w` (N, K) are faster by oneDNN."""
    return w.numel() >= _LARGE and _by_onednn(w)


def _by_onednn(table: Tensor) -> bool:
    """Say whether oneDNN may compute with `table`; it has no derivatives and no other types."""
    plain = table.dtype == torch.float32 and table.device.type == "cpu" and table.numel() > 0
    differentiated = table.requires_grad and torch.is_grad_enabled()
    return plain and not differentiated and bool(torch.backends.mkldnn.enabled) and _works()


@functools.cache
def _works() -> bool:
    """Say whether this torch has oneDNN's product, and it is the one that is meant."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    x, w = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
    try:
        first = _linear()(x, w, None, "none", [], "")
        found = _linear().binary(x, first, w, None, "add")
    except (AttributeError, RuntimeError, TypeError):  # another torch, or one built without
        return False
    return bool(torch.equal(found, 2 * (x @ w.T)))


def _linear() -> Any:
    return torch.ops.mkldnn._linear_pointwise


def _cuts(width: int) -> list[slice]:
    """Return stretches of the width, equal but for the last one."""
    step = -(-width // -(-width // _STRETCH))
    return [slice(start, min(start + step, width)) for start in range(0, width, step)]
