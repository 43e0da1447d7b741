"""First pass: what needs each logit once. Normalisers, entropies, moments, ranks, block maxima.

A program reads `tiles` tiles of one row and one more, masked, that may be partial or empty. A tile
is (sub, lanes, width) columns; each lane keeps its own running maximum and sums, so these need
neither a barrier nor a branch in the loop (the maxima of blocks cross lanes). Lanes are
merged when the row ends, and the programs that share a row (splits) by the host: both with the
merge of kernels.md 2.2. No atomics.

Exponents are a * log2(e) - ref, one fused multiply-add that rounds only the small result. The
reference is the lane's maximum times log2(e) as rounded to float32, and is a number of its own:
its rounding cancels in total, weighted and merges.
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
    read_tile,
    tile_columns,
)

SUMS = 11
"""Float64 numbers per program: ref, total, weighted of a, of b; sums of a, b, aa, bb, ab."""
COUNTS = 6
"""Integers per program: argmax of a, b; ids above the token in a, b; ids used; ids refused."""
BLOCK = 64
"""Columns per stored maximum."""
_BLOCK_DEVICE = tl.constexpr(BLOCK)
_SUMS_DEVICE = tl.constexpr(SUMS)
_COUNTS_DEVICE = tl.constexpr(COUNTS)
_LOWEST = tl.constexpr(-2e38)
_NO_COLUMN = tl.constexpr(1 << 30)


@triton.jit
def _softmax_update(state, x, tile, masked: tl.constexpr, interp: tl.constexpr):
    """Return the state of one model after a tile, and the largest logit of each sub-row."""
    peak, ref, total, weighted, at = state
    tops = tl.max(x, 2)  # (sub, lanes)
    top = tl.max(tops, 0)
    at = tl.where(top > peak, tile, at)
    peak = tl.maximum(peak, top)
    # never peak * LOG2_E here: fused into the subtraction, its rounding would not cancel
    new = tl.maximum(ref, top * LOG2_E_DEVICE)
    shift = ref - new
    scale = exp2(shift, interp)
    exponent = fma(x, LOG2_E_DEVICE, -new[None, :, None], interp)
    weight = exp2(exponent, interp)
    term = weight * exponent
    if masked:
        term = tl.where(weight > 0, term, 0.0)
    weighted = fma(scale, fma(shift, total, weighted, interp), lane_sum(term), interp)
    total = fma(scale, total, lane_sum(weight), interp)
    return (peak, new, total, weighted, at), tops


@triton.jit
def _moments_update(moments, a, b):
    sum_a, sum_b, sum_aa, sum_bb, sum_ab = moments
    return (
        sum_a + lane_sum(a),
        sum_b + lane_sum(b),
        sum_aa + lane_sum(a * a),
        sum_bb + lane_sum(b * b),
        sum_ab + lane_sum(a * b),
    )


@triton.jit
def _store_maxima(maxima, tops, first, blocks: tl.constexpr, per_block: tl.constexpr):
    """Store the largest logit of each block of columns; `first` is the tile's first block."""
    sub: tl.constexpr = tops.shape[0]
    in_row: tl.constexpr = tops.shape[1] // per_block
    best = tl.max(tl.reshape(tops, (sub, in_row, per_block)), 2)
    block = first + tl.arange(0, sub)[:, None] * in_row + tl.arange(0, in_row)[None, :]
    tl.store(maxima + block, best, mask=block < blocks)


@triton.jit
def _merge(state, interp: tl.constexpr):
    """Return ref, total, weighted over all lanes, in float64."""
    _peak, ref, total, weighted, _at = state
    best = tl.max(ref, 0)
    shift = ref - best
    scale = exp2(shift, interp)
    shifted = fma(shift, total, weighted, interp) * scale
    # float64: beside the 1 of the largest logit, float32 would lose the small lanes
    return (
        best.to(tl.float64),
        tl.sum((total * scale).to(tl.float64), 0),
        tl.sum(shifted.to(tl.float64), 0),
    )


@triton.jit
def _first_column(table, state, inner, vocabulary: tl.constexpr, size: tl.constexpr):
    """Return the lowest id of the largest logit: in the tile that each lane remembers."""
    peak, _ref, _total, _weighted, at = state
    best = tl.max(peak, 0)
    columns = at[None, :, None] * size + inner
    x = tl.load(table + columns, mask=columns < vocabulary, other=float("-inf")).to(tl.float32)
    found = tl.where((x == best) & (columns < vocabulary), columns, _NO_COLUMN)
    return tl.min(tl.min(tl.min(found, 2), 0), 0).to(tl.int64)


@triton.jit
def _tile_update(
    carry, table_a, table_b, maxima_a, maxima_b, row, tile, inner,
    vocabulary: tl.constexpr, with_tokens: tl.constexpr, with_maxima: tl.constexpr,
    careful: tl.constexpr,
    masked: tl.constexpr, interp: tl.constexpr,
):  # fmt: skip
    """Return the sums after one tile; masked where columns may be past the end or impossible."""
    side_a, side_b, moments, above_a, above_b, used, refused = carry
    centre_a, centre_b, token_a, token_b = row
    sub: tl.constexpr = inner.shape[0]
    lanes: tl.constexpr = inner.shape[1]
    width: tl.constexpr = inner.shape[2]
    size: tl.constexpr = sub * lanes * width
    columns = tile * size + inner
    inside = columns < vocabulary
    a = read_tile(table_a, columns, inside, masked)
    b = read_tile(table_b, columns, inside, masked)
    if masked:
        low = float("-inf")
        usable = (a > low) & (b > low)
        if careful:  # a NaN is not usable and no -inf
            bad = inside & ~usable & ~((a == low) & (b == low))
            refused += lane_sum(bad.to(tl.int32))
            used += lane_sum(usable.to(tl.int32))
            a = tl.where(usable, a, low)
            b = tl.where(usable, b, low)
        else:
            usable = inside
        x = tl.where(usable, a - centre_a, 0.0)
        y = tl.where(usable, b - centre_b, 0.0)
    else:
        x = a - centre_a
        y = b - centre_b
    side_a, tops_a = _softmax_update(side_a, a, tile, masked, interp)
    side_b, tops_b = _softmax_update(side_b, b, tile, masked, interp)
    moments = _moments_update(moments, x, y)
    if with_tokens:
        above_a += lane_sum(is_above(a, token_a))
        above_b += lane_sum(is_above(b, token_b))
    if with_maxima:
        per_block: tl.constexpr = _BLOCK_DEVICE // width
        blocks: tl.constexpr = (vocabulary + _BLOCK_DEVICE - 1) // _BLOCK_DEVICE
        first = tile * (size // _BLOCK_DEVICE)
        _store_maxima(maxima_a, tops_a, first, blocks, per_block)
        _store_maxima(maxima_b, tops_b, first, blocks, per_block)
    return side_a, side_b, moments, above_a, above_b, used, refused


@triton.jit
def _start(lanes: tl.constexpr):
    zero = tl.zeros([lanes], tl.float32)
    none = tl.zeros([lanes], tl.int32)
    low = tl.full([lanes], _LOWEST, tl.float32)
    side = (low, low * LOG2_E_DEVICE, zero, zero, none)
    return side, side, (zero, zero, zero, zero, zero), none, none, none, none


@triton.jit
def stats_kernel(
    a, b, rows, centres_a, centres_b, tokens_a, tokens_b, sums, counts, maxima_a, maxima_b,
    stride_a, stride_b,
    vocabulary: tl.constexpr, tiles: tl.constexpr, splits: tl.constexpr, sub: tl.constexpr,
    lanes: tl.constexpr, width: tl.constexpr, with_tokens: tl.constexpr, with_maxima: tl.constexpr,
    careful: tl.constexpr, interp: tl.constexpr,
):  # fmt: skip
    """Write the sums of one part of one row; see `SUMS` and `COUNTS` for their order.

    careful leaves out ids that are -inf in both tables, and counts those it must refuse.
    """
    place = tl.program_id(0).to(tl.int64)
    split = tl.program_id(1)
    size: tl.constexpr = sub * lanes * width
    line = tl.load(rows + place)
    table_a = a + line * stride_a
    table_b = b + line * stride_b
    blocks: tl.constexpr = (vocabulary + _BLOCK_DEVICE - 1) // _BLOCK_DEVICE
    maxima_a += place * blocks
    maxima_b += place * blocks
    row = (
        tl.load(centres_a + place),
        tl.load(centres_b + place),
        tl.load(tokens_a + place),
        tl.load(tokens_b + place),
    )
    inner = tile_columns(sub, lanes, width)
    carry = _start(lanes)
    # one stage: other programs of the processor hide the loads, and copies cost instructions
    for step in tl.range(0, tiles, num_stages=1):
        carry = _tile_update(
            carry, table_a, table_b, maxima_a, maxima_b, row, split * tiles + step, inner,
            vocabulary, with_tokens, with_maxima, careful, careful, interp,
        )  # fmt: skip
    # tiles that do not divide evenly, and the partial one
    carry = _tile_update(
        carry, table_a, table_b, maxima_a, maxima_b, row, splits * tiles + split, inner,
        vocabulary, with_tokens, with_maxima, careful, True, interp,
    )  # fmt: skip
    part = place * splits + split
    side_a, side_b, moments, above_a, above_b, used, refused = carry
    _store_sums(sums + part * _SUMS_DEVICE, side_a, side_b, moments, interp)
    counts += part * _COUNTS_DEVICE
    tl.store(counts, _first_column(table_a, side_a, inner, vocabulary, size))
    tl.store(counts + 1, _first_column(table_b, side_b, inner, vocabulary, size))
    tl.store(counts + 2, tl.sum(above_a.to(tl.int64), 0))
    tl.store(counts + 3, tl.sum(above_b.to(tl.int64), 0))
    tl.store(counts + 4, tl.sum(used.to(tl.int64), 0))
    tl.store(counts + 5, tl.sum(refused.to(tl.int64), 0))


@triton.jit
def _store_sums(out, side_a, side_b, moments, interp: tl.constexpr):
    ref_a, total_a, weighted_a = _merge(side_a, interp)
    ref_b, total_b, weighted_b = _merge(side_b, interp)
    tl.store(out, ref_a)
    tl.store(out + 1, total_a)
    tl.store(out + 2, weighted_a)
    tl.store(out + 3, ref_b)
    tl.store(out + 4, total_b)
    tl.store(out + 5, weighted_b)
    for k in tl.static_range(5):
        tl.store(out + 6 + k, tl.sum(moments[k].to(tl.float64), 0))
