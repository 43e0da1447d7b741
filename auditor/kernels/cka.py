"""Debiased linear CKA in one pass over batches: exact, with no (n, n) matrix.

Kornblith et al. 2019 with the unbiased HSIC of Song et al. 2012, eq. 5. With zero-diagonal Gram
matrices K = X X^T, L = Y Y^T every sum that HSIC needs is a polynomial of moments:

    tr(K L)     = |G|_F^2 - c                        G = sum x y^T,   c = sum |x|^2 |y|^2
    1' K 1      = |s_x|^2 - t_x                      s_x = sum x,     t_x = sum |x|^2
    1' K L 1    = s_x' G s_y - s_x' u - w' s_y + c   u = sum x |y|^2, w = sum y |x|^2

Moments of disjoint samples add. They are kept in float64 around the mean of the first batch,
because sums of squares far from 0 would cancel; HSIC does not change under shifts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from auditor.errors import InputError, UndefinedError
from auditor.types import Array

Rows = Array | Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Moments:
    """Joint moments of n pairs (x, y), float64."""

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

    def plus(self, other: "_Moments") -> "_Moments":
        """Return the moments of both samples together."""
        names = [f.name for f in fields(self)]
        return _Moments(**{name: getattr(self, name) + getattr(other, name) for name in names})

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


def _moments(x: Tensor, y: Tensor) -> _Moments:
    x2, y2 = x.square().sum(1), y.square().sum(1)  # (B,)
    return _Moments(
        n=torch.tensor(float(x.shape[0]), dtype=torch.float64, device=x.device),
        g=x.T @ y,
        s_x=x.sum(0),
        s_y=y.sum(0),
        t_x=x2.sum(),
        t_y=y2.sum(),
        u=x.T @ y2,
        w=y.T @ x2,
        c=x2 @ y2,
    )


class CkaStream:
    """Debiased linear CKA of two representations of the same n items, fed in batches.

    1 for representations equal up to rotation, shift and scale; 0 on average for independent ones,
    whatever their widths (it may be negative).
    """

    def __init__(self) -> None:
        self._shift: tuple[Tensor, Tensor] | None = None
        self._xy: _Moments | None = None
        self._xx: _Moments | None = None
        self._yy: _Moments | None = None

    @property
    def n(self) -> int:
        """Number of items seen."""
        return 0 if self._xy is None else int(self._xy.n)

    def update(self, x: Rows, y: Rows) -> None:
        """Add a batch: (B, Dx) and (B, Dy), row i of both from the same item.

        Raises:
            InputError: shapes do not fit each other or earlier batches, or a value is not finite.
        """
        x, y = _checked_rows("x", x), _checked_rows("y", y)
        if x.shape[0] != y.shape[0]:
            raise InputError(f"x has {x.shape[0]} rows and y {y.shape[0]}")
        if x.shape[0] == 0:
            return
        if self._shift is None:
            self._shift = (x.mean(0), y.mean(0))
        self._check_widths(int(x.shape[1]), int(y.shape[1]), self._shift)
        x, y = x - self._shift[0], y - self._shift[1]
        self._add(_moments(x, y), _moments(x, x), _moments(y, y))

    def merge(self, other: "CkaStream") -> None:
        """Add what another stream has seen; `other` is left as it was.

        Raises:
            InputError: the streams saw representations of other widths.
        """
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
        self._xy = xy if self._xy is None else self._xy.plus(xy)
        self._xx = xx if self._xx is None else self._xx.plus(xx)
        self._yy = yy if self._yy is None else self._yy.plus(yy)

    def value(self) -> float:
        """Return the debiased CKA of everything seen.

        Raises:
            UndefinedError: fewer than 4 items, or a representation without spread.
        """
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
    table = torch.as_tensor(rows).detach().double()
    if table.ndim != 2:
        raise InputError(f"{name} must be (B, D), found shape {tuple(table.shape)}")
    if not bool(torch.isfinite(table).all()):
        raise InputError(f"{name} must be finite")
    return table
