"""Second pass: divergences whose terms are all >= 0, and counts that need a known logit.

With d = log p - log q, x = |d| / 2, h = e^-x, g = 1 - h, M = max(p, q) and k = h - 1 + x:

    p (e^-d - 1 + d) = M (2 k + g^2) for p >= q     the same of the other side = M (2 x e - that)
    e = 1 - h^2 = 2 g - g^2                         KL(p||q), KL(q||p): sums of the two
    TV = 1/2 sum M e     H^2 = 1/2 sum M g^2        BC = sum M h
    JS = 1/2 sum M (x e - (1 + h^2) ln cosh x)
       = 1/2 sum M ((1 + h^2) (ln 2 - ln(1 + h^2)) - 2 x h^2)

(kernels.md 2.3 in x = D / 2.) For x < 1/2, k / x^2 and ln cosh(x) / x^2 are polynomials, fitted
at Chebyshev nodes with relative errors 5e-8 and 1.2e-7: no cancellation, and equal logits give
exactly 0. M comes from the larger side alone, so it has no error from the smaller.
"""

# The functions below are compiled by Triton, whose types are not Python's.
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import triton
import triton.language as tl

from auditor.kernels.triton.arithmetic import (
    LOG2_E_DEVICE,
    exp2,
    fma,
    is_above,
    lane_sum,
    log2,
    read_tile,
    tile_columns,
)

SUMS = 6
"""Float64 numbers per program: KL(p||q), KL(q||p), sum M g^2, BC, sum M e, twice JS."""
COUNTS = 3
"""Integers per program: ids level with the token in a, in b; ids of b above the choice of a."""
SCALARS = 10
"""Float32 numbers per row: shift of d, offsets of a, b, refs of a, b, factors of their powers of 2,
logits of the token in a, b, logit in b of a's choice."""
_SUMS_DEVICE = tl.constexpr(SUMS)
_COUNTS_DEVICE = tl.constexpr(COUNTS)
_SCALARS_DEVICE = tl.constexpr(SCALARS)
_HALF_LOG2_E = tl.constexpr(0.5 * 1.4426950408889634)
_LN2 = tl.constexpr(0.6931471805599453)
_NEAR = tl.constexpr(0.5)


@triton.jit
def _excess(x, h):
    """Return e^-x - 1 + x for x >= 0, given h = e^-x."""
    series = -0.00823822135 + x * 0.00116428703
    series = 0.5 + x * (-0.166665628 + x * (0.04164993 + x * series))
    return tl.where(x < _NEAR, x * x * series, (h - 1.0) + x)


@triton.jit
def _js_term(x, h, e, interp: tl.constexpr):
    square = h * h
    both = 1.0 + square
    y = x * x
    log_cosh = 0.0220746559 + y * -0.00576762973
    log_cosh = y * (0.499999943 + y * (-0.0833260583 + y * log_cosh))
    gain = _LN2 - log2(both, interp) * _LN2
    far = both * gain - 2.0 * x * square
    return tl.where(x < _NEAR, x * e - both * log_cosh, far)


@triton.jit
def _terms(a, b, row, interp: tl.constexpr):
    """Return M, x, h, g, k and whether p >= q."""
    shift, from_a, from_b, ref_a, ref_b, scale_a, scale_b = row
    d = (a - from_a) - (b - from_b) - shift
    more = d >= 0
    exponent_a = fma(a, LOG2_E_DEVICE, -ref_a, interp)
    exponent_b = fma(b, LOG2_E_DEVICE, -ref_b, interp)
    most = exp2(tl.where(more, exponent_a, exponent_b), interp)
    most = most * tl.where(more, scale_a, scale_b)
    size = tl.abs(d)
    x = 0.5 * size
    h = exp2(size * -_HALF_LOG2_E, interp)
    k = _excess(x, h)
    return most, x, h, x - k, k, more


@triton.jit
def _sums_update(
    sums, a, b, row, usable, full: tl.constexpr, masked: tl.constexpr, interp: tl.constexpr
):
    kl_ab, kl_ba, root_gap, root, gap, js = sums
    most, x, h, g, k, more = _terms(a, b, row, interp)
    if masked:
        most = tl.where(usable, most, 0.0)
        x = tl.where(usable, x, 0.0)
        h = tl.where(usable, h, 1.0)
        g = tl.where(usable, g, 0.0)
        k = tl.where(usable, k, 0.0)
    square = g * g
    e = 2.0 * g - square
    with_more = 2.0 * k + square
    with_less = 2.0 * x * e - with_more
    kl_ab += lane_sum(most * tl.where(more, with_more, with_less))
    kl_ba += lane_sum(most * tl.where(more, with_less, with_more))
    root_gap += lane_sum(most * square)
    root += lane_sum(most * h)
    if full:
        gap += lane_sum(most * e)
        js += lane_sum(most * _js_term(x, h, e, interp))
    return kl_ab, kl_ba, root_gap, root, gap, js


@triton.jit
def _tile_update(
    carry, table_a, table_b, row, marks, tile, inner,
    vocabulary: tl.constexpr, full: tl.constexpr, with_tokens: tl.constexpr, masked: tl.constexpr,
    interp: tl.constexpr,
):  # fmt: skip
    sums, level, above = carry
    token_a, token_b, choice_b = marks
    size: tl.constexpr = inner.shape[0] * inner.shape[1] * inner.shape[2]
    columns = tile * size + inner
    inside = columns < vocabulary
    a = read_tile(table_a, columns, inside, masked)
    b = read_tile(table_b, columns, inside, masked)
    usable = inside
    if masked:
        usable = (a > float("-inf")) & (b > float("-inf"))
    sums = _sums_update(sums, a, b, row, usable, full, masked, interp)
    if with_tokens:  # two counts below 2^16 in one integer
        both = (a == token_a).to(tl.int32) + ((b == token_b).to(tl.int32) << 16)
        level += lane_sum(both)
    if full:
        above += lane_sum(is_above(b, choice_b))
    return sums, level, above


@triton.jit
def divergence_kernel(
    a, b, rows, scalars, sums, counts, stride_a, stride_b,
    vocabulary: tl.constexpr, tiles: tl.constexpr, splits: tl.constexpr, sub: tl.constexpr,
    lanes: tl.constexpr, width: tl.constexpr, full: tl.constexpr, with_tokens: tl.constexpr,
    careful: tl.constexpr, interp: tl.constexpr,
):  # fmt: skip
    """Write the sums of one part of one row; see `SUMS` and `COUNTS` for their order.

    careful leaves out ids that are -inf in a table.
    """
    place = tl.program_id(0).to(tl.int64)
    split = tl.program_id(1)
    line = tl.load(rows + place)
    table_a = a + line * stride_a
    table_b = b + line * stride_b
    known = scalars + place * _SCALARS_DEVICE
    row = (
        tl.load(known), tl.load(known + 1), tl.load(known + 2), tl.load(known + 3),
        tl.load(known + 4), tl.load(known + 5), tl.load(known + 6),
    )  # fmt: skip
    marks = (tl.load(known + 7), tl.load(known + 8), tl.load(known + 9))
    inner = tile_columns(sub, lanes, width)
    zero = tl.zeros([lanes], tl.float32)
    none = tl.zeros([lanes], tl.int32)
    carry = ((zero, zero, zero, zero, zero, zero), none, none)
    # one stage: other programs of the processor hide the loads, and copies cost instructions
    for step in tl.range(0, tiles, num_stages=1):
        carry = _tile_update(
            carry, table_a, table_b, row, marks, split * tiles + step, inner,
            vocabulary, full, with_tokens, careful, interp,
        )  # fmt: skip
    # tiles that do not divide evenly, and the partial one
    carry = _tile_update(
        carry, table_a, table_b, row, marks, splits * tiles + split, inner,
        vocabulary, full, with_tokens, True, interp,
    )  # fmt: skip
    part = place * splits + split
    totals, level, above = carry
    for k in tl.static_range(_SUMS_DEVICE):
        tl.store(sums + part * _SUMS_DEVICE + k, tl.sum(totals[k].to(tl.float64), 0))
    counts += part * _COUNTS_DEVICE
    tl.store(counts, tl.sum((level & 0xFFFF).to(tl.int64), 0))
    tl.store(counts + 1, tl.sum((level >> 16).to(tl.int64), 0))
    tl.store(counts + 2, tl.sum(above.to(tl.int64), 0))
