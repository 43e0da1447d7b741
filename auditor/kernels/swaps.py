"""Swap tests: is it arbitrary which of two replies is whose?

Reply x_i of one model and y_i of another form pair i of n. With a kernel k,

    H_ij = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(y_i, x_j),  H_ii = 0,

the sum of H over i != j is n (n - 1) times the unbiased squared maximum mean discrepancy (Gretton
et al. 2012, eq. 3, without the terms between partners), and swapping the partners of some pairs
turns it into e' H e with e_i = -1 for those. If each pair is exchangeable, all e are as likely.
Partners may depend on each other, as replies drawn with one stream of random numbers do.

Here k counts equal symbols, so that every number is an integer, and float64 arithmetic exact: the
same result on every machine, in any order, with ties counted as ties.
"""

import numpy as np
import numpy.typing as npt

from auditor.types import Array

_CELLS = 1 << 19
"""Cells of a block of H, or of signs, held at once: 2 MiB in float32."""
_EXACT = 1 << 24
"""Integers up to it are exact in float32."""


def hamming_h(x: Array, y: Array) -> Array:
    """Return (n, n) float64 H of paired symbol rows; k is the number of equal symbols.

    Args:
        x: (n, L) integers.
        y: (n, L): row i belongs to row i of x.
    """
    cross = _equal_symbols(x, y)
    h = _equal_symbols(x, x) + _equal_symbols(y, y) - cross - cross.T
    np.fill_diagonal(h, 0.0)
    return h


def swapped_sums(h: Array, signs: Array) -> Array:
    """Return (B,) float64: e' H e for each row e of `signs`.

    Args:
        h: (n, n), symmetric with a zero diagonal.
        signs: (B, n) of -1 and 1.
    """
    e = signs.astype(np.float64)
    return ((e @ h) * e).sum(axis=1)


def swapped_totals(x: Array, y: Array, bits: Array, count: int) -> tuple[float, Array]:
    """Return the sum of H, and (count,) e' H e for each sign vector e, without holding H.

    The same integers as `hamming_h` and `swapped_sums` give, from blocks of rows.

    Args:
        x: (n, L) integers.
        y: (n, L): row i belongs to row i of x.
        bits: (n, ceil(count / 8)) uint8: row i packs the signs of pair i, 1 for -1.
        count: number of sign vectors.
    """
    n, total, swapped = len(x), 0.0, np.zeros(count)
    exact = np.float32 if 4 * x.shape[1] * n < _EXACT else np.float64
    rows = max(1, _CELLS // n)
    signs = max(8, _CELLS // n // 8 * 8)  # whole bytes
    for first in range(0, n, rows):
        own = slice(first, min(first + rows, n))
        h = _rows_of_h(x, y, own, exact)
        sums = h.sum(axis=1, dtype=np.float64)[:, None]
        total += float(sums.sum())
        for start in range(0, count, signs):
            stop = min(start + signs, count)
            packed = bits[:, start // 8 : -(-stop // 8)]
            negative = np.unpackbits(packed, axis=1, count=stop - start).astype(exact)  # (n, b)
            # e = 1 - 2 negative, and so H e = H 1 - 2 H negative
            e = 1.0 - 2.0 * negative[own].astype(np.float64)
            swapped[start:stop] += ((sums - 2.0 * (h @ negative)) * e).sum(axis=0)
    return total, swapped


def _rows_of_h(x: Array, y: Array, own: slice, kind: npt.DTypeLike) -> Array:
    """Return (rows, n) of `hamming_h`, in a type that holds its integers."""
    h = _equal_symbols(x[own], x, kind)
    h += _equal_symbols(y[own], y, kind)
    h -= _equal_symbols(x[own], y, kind)
    h -= _equal_symbols(y[own], x, kind)
    h[np.arange(len(h)), np.arange(own.start, own.stop)] = 0.0
    return h


def _equal_symbols(x: Array, y: Array, kind: npt.DTypeLike = np.float64) -> Array:
    counts = np.empty((len(x), len(y)), dtype=kind)
    for i, row in enumerate(x):
        counts[i] = (y == row).sum(axis=1)
    return counts
