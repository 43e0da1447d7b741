"""What both passes do to a tile, in single instructions that Triton's functions wrap in more code.

`interp` marks a run by Triton's interpreter, which knows neither inline assembly nor a fused
multiply-add: there the same value is computed with numpy's float64.
"""

# The functions below are compiled by Triton, whose types are not Python's.
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import triton
import triton.language as tl

LOG2_E = 1.4426950216293335
"""log2(e) as float32 holds it. Exponents a * LOG2_E are then sums without a second rounding."""
LOG2_E_DEVICE = tl.constexpr(LOG2_E)


@triton.jit
def exp2(x, interp: tl.constexpr):
    """Return 2^x in float32, 0 below 2^-126; relative error 2^-22."""
    if interp:
        return tl.exp2(x)
    return tl.inline_asm_elementwise(
        "ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
    )


@triton.jit
def log2(x, interp: tl.constexpr):
    """Return the logarithm to base 2 in float32; absolute error 2^-22 for x in [1, 2]."""
    if interp:
        return tl.log2(x)
    return tl.inline_asm_elementwise(
        "lg2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
    )


@triton.jit
def fma(x, y, z, interp: tl.constexpr):
    """Return x * y + z with one rounding, whatever the compiler would make of the expression."""
    if interp:
        return (x.to(tl.float64) * y + z).to(tl.float32)
    return tl.fma(x, y, z)


@triton.jit
def lane_sum(x):
    """Return the sum of (sub, lanes, width) over what each lane holds, (lanes,)."""
    return tl.sum(tl.sum(x, 2), 0)


@triton.jit
def is_above(x, mark):
    """Return int32 1 where x > mark, from the sign of the difference: two instructions, not three.

    Differences of unequal float32 numbers are not 0, as denormals are kept. x may be -inf; mark
    must not be -0.0, as -0.0 - 0.0 has a sign.
    """
    return ((mark - x).to(tl.uint32, bitcast=True) >> 31).to(tl.int32)


@triton.jit
def tile_columns(sub: tl.constexpr, lanes: tl.constexpr, width: tl.constexpr):
    """Return the columns of the first tile, (sub, lanes, width)."""
    return (
        tl.arange(0, sub)[:, None, None] * (lanes * width)
        + tl.arange(0, lanes)[None, :, None] * width
        + tl.arange(0, width)[None, None, :]
    )


@triton.jit
def read_tile(table, columns, inside, masked: tl.constexpr):
    """Return logits as float32, -inf outside the row; numbers of 16 bits are widened at once."""
    if masked:
        return tl.load(table + columns, mask=inside, other=float("-inf")).to(tl.float32)
    return tl.load(table + columns).to(tl.float32)
