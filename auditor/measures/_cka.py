"""Debiased linear CKA of two representations of the same probes, and of many halves of them."""

from collections.abc import Iterator

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._rows import Rows, blocks, centred, held
from auditor.types import Array

_ROWS = 512
"""Rows of a Gram matrix whose sums are added up before those of others."""
_CELLS = 1 << 18
"""Cells of the matrix held at once: 2 MiB in float64, or `_FEWEST_ROWS` rows."""
_FEWEST_ROWS = 64
_NO_SPREAD = 1e-12


def debiased_cka(x: Rows, y: Rows) -> float:
    """Return the debiased CKA of (P, Dx) and (P, Dy), in [-1, 1].

    Raises:
        UndefinedError: fewer than 4 probes, or a side is the same for all probes but one.
    """
    from auditor.kernels import cka_stream

    for side, name in ((x, "reference"), (y, "suspect")):
        if len(side) >= 4 and not _varies(side):
            raise UndefinedError(f"the {name} is the same for all {len(side)} probes, or all but 1")
    # |CKA| <= 1 by Cauchy-Schwarz: the unbiased HSIC is an inner product of U-centred matrices
    # (Székely & Rizzo 2014). Rounding may pass it.
    batches = ((x[block], y[block]) for block in blocks(x))
    return float(np.clip(cka_stream(batches), -1.0, 1.0))


def subset_cka(x: Rows, y: Rows, chosen: Array) -> Array:
    """Return (B,): the debiased CKA on each of B subsets of the probes, (B, P) bool.

    The same statistic from Gram matrices: with w the indicator of a subset and K, L with a zero
    diagonal, tr(KL) = w'(K*L)w, 1'K1 = w'Kw and 1'KL1 = sum w (Kw)(Lw). Five products serve all
    subsets, where the moments of `cka_stream` would be collected anew for each.

    Raises:
        UndefinedError: a subset has fewer than 4 probes or no spread.
    """
    weight = chosen.astype(np.float64).T  # (P, B)
    if (weight.sum(axis=0) < 4).any():
        raise UndefinedError("a subset has fewer than 4 probes")
    x, y = held(centred(x)), held(centred(y))
    cross, _ = _hsic(x, y, weight)
    own_x, size_x = _hsic(x, x, weight)
    own_y, size_y = _hsic(y, y, weight)
    if (own_x <= _NO_SPREAD * size_x).any() or (own_y <= _NO_SPREAD * size_y).any():
        raise UndefinedError("a subset does not vary")
    return np.clip(cross / np.sqrt(own_x * own_y), -1.0, 1.0)


def _varies(x: Rows) -> bool:
    """Return whether anything is left of the Gram matrix of (P, D) rows after U-centring.

    Where all rows but one are equal nothing is, and CKA would divide rounding by rounding.
    """
    around = held(centred(x))
    own, size = _hsic(around, around, np.ones((len(x), 1)))
    return bool(own[0] > _NO_SPREAD * size[0])


def _hsic(x: Rows, y: Rows, weight: Array) -> tuple[Array, Array]:
    """Return (B,) unbiased HSIC (Song et al. 2012, equation 5) of weighted rows, (P, B).

    With it the mean product of the Gram matrices' elements, before centring.
    """
    trace, ones_k, ones_l, ones_kl = np.zeros((4, weight.shape[1]))
    for start in range(0, len(x), _ROWS):
        rows = slice(start, min(start + _ROWS, len(x)))
        own, (kw, lw, klw) = weight[rows], _gram_sums(x, y, weight, rows)
        trace += (own * klw).sum(axis=0)
        ones_k += (own * kw).sum(axis=0)
        ones_l += (own * lw).sum(axis=0)
        ones_kl += (own * kw * lw).sum(axis=0)
    m = weight.sum(axis=0)
    both = ones_k * ones_l / ((m - 1) * (m - 2))
    return (trace + both - 2 * ones_kl / (m - 2)) / (m * (m - 3)), trace / (m * (m - 1))


def _gram_sums(x: Rows, y: Rows, weight: Array, rows: slice) -> Array:
    """Return (3, R, B): Kw, Lw and (K*L)w of some rows, K and L with a zero diagonal."""
    a, b = x[rows], y[rows]
    total = np.zeros((3, len(a), weight.shape[1]))
    for block in blocks(x):
        right, left, taken = x[block].T, y[block].T, weight[block]
        for part in _parts(len(a), right.shape[1]):
            k, gram_l = a[part] @ right, b[part] @ left  # (r, C)
            first = rows.start + part.start
            own = np.arange(max(first, block.start), min(first + len(k), block.stop))
            at = own - first, own - block.start
            k[at] = gram_l[at] = 0.0
            total[0, part] += k @ taken
            total[1, part] += gram_l @ taken
            k *= gram_l
            total[2, part] += k @ taken
    return total


def _parts(rows: int, columns: int) -> Iterator[slice]:
    """Yield neighbouring rows of a block of columns, as many at once as bound the memory."""
    # A power of two: what is left over is then the same rows, and so is the rounding of products.
    step = max(_FEWEST_ROWS, 1 << (_CELLS // columns).bit_length() >> 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
