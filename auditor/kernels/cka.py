"""Debiased linear CKA in one pass over batches: exact, with no (n, n) matrix.

Kornblith et al. 2019 with the unbiased HSIC of Song et al. 2012, eq. 5. With zero-diagonal Gram
matrices K = X X^T, L = Y Y^T every sum that HSIC needs is a polynomial of moments:

    tr(K L)     = |G|_F^2 - c                        G = sum x y^T,   c = sum |x|^2 |y|^2
    1' K 1      = |s_x|^2 - t_x                      s_x = sum x,     t_x = sum |x|^2
    1' K L 1    = s_x' G s_y - s_x' u - w' s_y + c   u = sum x |y|^2, w = sum y |x|^2

Moments of disjoint samples add. They are kept in float64 around the mean of the first batch,
because sums of squares far from 0 would cancel; HSIC does not change under shifts. Products of a
batch are in the type of its representations, float32 or float64: with float32 CKA errs by 1e-9 to
1e-7, as much as the representations themselves are rounded.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from auditor.errors import InputError, UndefinedError
from auditor.kernels.products import product
from auditor.types import Array

Rows = Array | Tensor
_TOGETHER = 2048
"""Rows that wait at most."""
_NARROW = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Moments:
    """Joint moments of n pairs (x, y), float64; those of a batch may have a float32 g."""

    n: Tensor
    """()."""
    g: Tensor
    """(Dx, Dy)."""
    s_x: Tensor
    """(Dx,)."""
    s_y: Tensor
    t_x: Tensor
    """()."""
    t_y: Tensor
    u: Tensor
    """(Dx,)."""
    w: Tensor
    """(Dy,)."""
    c: Tensor
    """()."""

    def add(self, other: "_Moments") -> None:
        """Make these the moments of both samples together."""
        for field in fields(self):
            getattr(self, field.name).add_(getattr(other, field.name))

    def copied(self) -> "_Moments":
        """Return float64 copies that `add` may change."""
        names = [field.name for field in fields(self)]
        copies = {name: getattr(self, name).to(torch.float64, copy=True) for name in names}
        return _Moments(**copies)

    def moved(self, dx: Tensor, dy: Tensor) -> "_Moments":
        """Return the moments of (x + dx, y + dy)."""
        n, xx, yy = self.n, dx @ dx, dy @ dy
        t_y = self.t_y + 2 * self.s_y @ dy + n * yy
        along = self.g @ dy  # (Dx,)
        return _Moments(
            n=n,
            g=self.g + torch.outer(dx, self.s_y + n * dy) + torch.outer(self.s_x, dy),
            s_x=self.s_x + n * dx,
            s_y=self.s_y + n * dy,
            t_x=self.t_x + 2 * self.s_x @ dx + n * xx,
            t_y=t_y,
            u=self.u + 2 * along + yy * self.s_x + t_y * dx,
            w=self.w
            + 2 * self.g.T @ dx
            + xx * self.s_y
            + (self.t_x + 2 * self.s_x @ dx + n * xx) * dy,
            c=self.c
            + 2 * self.w @ dy
            + yy * self.t_x
            + 2 * dx @ (self.u + 2 * along + yy * self.s_x)
            + xx * t_y,
        )

    def hsic(self) -> float:
        """Return the unbiased HSIC; needs n >= 4."""
        n = float(self.n)
        trace = self.g.square().sum() - self.c
        ones_k = self.s_x @ self.s_x - self.t_x
        ones_l = self.s_y @ self.s_y - self.t_y
        ones_kl = self.s_x @ self.g @ self.s_y - self.s_x @ self.u - self.w @ self.s_y + self.c
        both = ones_k * ones_l / ((n - 1) * (n - 2))
        return float((trace + both - 2 * ones_kl / (n - 2)) / (n * (n - 3)))


def _moments(x: Tensor, y: Tensor) -> tuple[_Moments, _Moments, _Moments]:
    """Return the moments of (x, y), (x, x) and (y, y) of a batch; products in its own type."""
    squares = torch.stack([x.square().sum(1), y.square().sum(1), torch.ones_like(x[:, 0])], 1)
    x2, y2, one = squares.double().unbind(1)  # (B,)
    # Columns: x |x|^2, x |y|^2, x summed over the batch
    along_x, along_y = (x.T @ squares).double().T, (y.T @ squares).double().T  # (3, D)
    left, right = x.T.contiguous(), y.T.contiguous()
    g = {"xy": product(left, right), "xx": _gram(left), "yy": _gram(right)}
    sides = {"x": (x2, along_x), "y": (y2, along_y)}
    found = []
    for name in ("xy", "xx", "yy"):
        (a2, along_a), (b2, along_b) = (sides[side] for side in name)
        found.append(
            _Moments(
                n=one.sum(),
                g=g[name],
                s_x=along_a[2],
                s_y=along_b[2],
                t_x=a2.sum(),
                t_y=b2.sum(),
                u=along_a["xy".index(name[1])],
                w=along_b["xy".index(name[0])],
                c=a2 @ b2,
            )
        )
    return found[0], found[1], found[2]


def _gram(x: Tensor) -> Tensor:
    """Return x x^T of x (D, B): of its quarters, the two off the diagonal are one product."""
    first, last = x.chunk(2) if len(x) > 1 else (x[:0], x)
    above, corner = product(first, x), product(last, last)
    return torch.cat([above, torch.cat([above[:, len(first) :].T, corner], 1)])


class CkaStream:
    """Debiased linear CKA of two representations of the same n items, fed in batches.

    1 for representations equal up to rotation, shift and scale; 0 on average for independent ones,
    whatever their widths (it may be negative).
    """

    def __init__(self) -> None:
        self._shift: tuple[Tensor, Tensor] | None = None
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._xy: _Moments | None = None
        self._xx: _Moments | None = None
        self._yy: _Moments | None = None

    @property
    def n(self) -> int:
        """Number of items seen."""
        added = 0 if self._xy is None else int(self._xy.n)
        return added + sum(len(x) for x, _ in self._waiting)

    def update(self, x: Rows, y: Rows) -> None:
        """Add a batch: (B, Dx) and (B, Dy), row i of both from the same item.

        Raises:
            InputError: shapes do not fit each other or earlier batches, or a value is not finite.
        """
        x, y = _checked_rows("x", x), _checked_rows("y", y)
        if x.dtype != y.dtype:
            x, y = x.double(), y.double()
        if x.shape[0] != y.shape[0]:
            raise InputError(f"x has {x.shape[0]} rows and y {y.shape[0]}")
        if x.shape[0] == 0:
            return
        if self._shift is None:
            # Rounded to float32, so that every batch is shifted by the same numbers.
            self._shift = (x.mean(0).float().double(), y.mean(0).float().double())
        self._check_widths(int(x.shape[1]), int(y.shape[1]), self._shift)
        x, y = x - self._shift[0].to(x.dtype), y - self._shift[1].to(y.dtype)
        if self._waiting and self._waiting[0][0].dtype != x.dtype:
            self._flush()
        self._waiting.append((x, y))
        if sum(len(rows) for rows, _ in self._waiting) >= _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        """Add the batches that wait: few large products are faster than many small ones."""
        if self._waiting:
            sides = zip(*self._waiting, strict=True)
            x, y = (side[0] if len(side) == 1 else torch.cat(side) for side in sides)
            self._waiting = []
            self._add(*_moments(x, y))

    def merge(self, other: "CkaStream") -> None:
        """Add what another stream has seen; `other` is left as it was.

        Raises:
            InputError: the streams saw representations of other widths.
        """
        self._flush()
        other._flush()
        if other._shift is None or other._xy is None or other._xx is None or other._yy is None:
            return
        if self._shift is None:
            self._shift = other._shift
        self._check_widths(len(other._shift[0]), len(other._shift[1]), self._shift)
        dx, dy = (theirs - ours for theirs, ours in zip(other._shift, self._shift, strict=True))
        self._add(other._xy.moved(dx, dy), other._xx.moved(dx, dx), other._yy.moved(dy, dy))

    @staticmethod
    def _check_widths(width_x: int, width_y: int, shift: tuple[Tensor, Tensor]) -> None:
        known = len(shift[0]), len(shift[1])
        if known != (width_x, width_y):
            raise InputError(f"widths changed from {known} to {(width_x, width_y)}")

    def _add(self, xy: _Moments, xx: _Moments, yy: _Moments) -> None:
        if self._xy is None or self._xx is None or self._yy is None:
            self._xy, self._xx, self._yy = (part.copied() for part in (xy, xx, yy))
        else:
            for mine, more in ((self._xy, xy), (self._xx, xx), (self._yy, yy)):
                mine.add(more)

    def value(self) -> float:
        """Return the debiased CKA of everything seen.

        Raises:
            UndefinedError: fewer than 4 items, or a representation without spread.
        """
        self._flush()
        if self._xy is None or self._xx is None or self._yy is None or self.n < 4:
            raise UndefinedError(f"debiased CKA needs at least 4 items, found {self.n}")
        own_x, own_y = self._xx.hsic(), self._yy.hsic()
        if not (own_x > 0.0 and own_y > 0.0):
            raise UndefinedError("a representation does not vary over the items: CKA has no value")
        return self._xy.hsic() / (own_x * own_y) ** 0.5


def cka_stream(batches: Iterable[tuple[Rows, Rows]]) -> float:
    """Return the debiased linear CKA over batches ((B, Dx), (B, Dy)); see `CkaStream`."""
    stream = CkaStream()
    for x, y in batches:
        stream.update(x, y)
    return stream.value()


def _checked_rows(name: str, rows: Rows) -> Tensor:
    table = torch.as_tensor(rows).detach()
    table = table.float() if table.dtype in _NARROW else table.double()
    if table.ndim != 2:
        raise InputError(f"{name} must be (B, D), found shape {tuple(table.shape)}")
    # The sum shows at once that all are finite, but for sums beyond the type.
    if not bool(torch.isfinite(table.sum())) and not bool(torch.isfinite(table).all()):
        raise InputError(f"{name} must be finite")
    return table
