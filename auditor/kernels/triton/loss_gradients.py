"""Device code: distillation losses of rows of logits, each row turned into its gradient in place.

Notation of `auditor.kernels.loss_terms`: s, t are softmaxes of tempered logits, a loss is a sum of
terms over the vocabulary, and its gradient is pull - s sum(pull). One program works on one row and
nobody else touches that row, so there are no atomics and two runs give the same bytes.

Loops over a row: forward KL 2 (its pulls sum to -1), reverse KL 2 (the sum of its pulls is the
divergence, found together with the normalisers), cross-entropy 2, the others 3.
"""

# The functions below are compiled by Triton, whose types are not Python's.
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import triton
import triton.language as tl

LOWEST = tl.constexpr(-3.4028234663852886e38)
"""Stands for columns past the end: below every tempered logit, and finite."""
FLOOR = tl.constexpr(-1.7014117331926443e38)
"""Half of LOWEST: what a logit of -inf counts as, as in the chunked implementation."""
POSSIBLE = tl.constexpr(-1e30)
"""Below: a logit that was -inf, over any temperature in use."""
TINY = tl.constexpr(1.1754943508222875e-38)
SHRINK = tl.constexpr(2.0**-24)
"""Keeps sums over many huge gaps finite; a power of two, so no digit is lost."""
GROW = tl.constexpr(2.0**24)


@triton.jit
def _columns(start, size: tl.constexpr, block: tl.constexpr):
    """Return the columns of a block and which of them exist."""
    columns = start + tl.arange(0, block)
    return columns, columns < size


@triton.jit
def _tempered(logits, inside, per_tau):
    """Return float32 logits / tau: finite, LOWEST outside, NaN where a logit is NaN."""
    every: tl.constexpr = tl.PropagateNan.ALL
    wide = tl.maximum(logits.to(tl.float32), FLOOR, propagate_nan=every)
    wide = tl.maximum(wide * per_tau, FLOOR, propagate_nan=every)
    return tl.where(inside, wide, LOWEST)


@triton.jit
def _joined(top, total, x):
    """Return running maxima and sums of exp(x - maximum), one pair a lane, with x added."""
    rise = x - top
    fade = tl.exp(-tl.abs(rise))
    # One exponential serves both cases: either the old sum fades or the new term is small.
    total = tl.where(rise > 0, total * fade + 1.0, total + fade)
    return tl.where(rise > 0, x, top), total, fade


@triton.jit
def _normaliser(top, total):
    """Return the maximum of a row and its sum of exp(x - maximum), from those of the lanes."""
    highest = tl.max(top, 0)
    return highest, tl.sum(total * tl.exp(top - highest), 0)


@triton.jit
def _normalisers(zs, zt, per_tau, size: tl.constexpr, block: tl.constexpr):
    """Return maximum and sum of both rows, and the reverse KL."""
    columns, inside = _columns(0, size, block)
    # The gaps are taken from a common offset of each row, which would cost digits.
    base_s = tl.max(_tempered(tl.load(zs + columns, inside, 0.0), inside, per_tau), 0)
    base_t = tl.max(_tempered(tl.load(zt + columns, inside, 0.0), inside, per_tau), 0)
    base_s = tl.where(base_s > POSSIBLE, base_s, 0.0)
    base_t = tl.where(base_t > POSSIBLE, base_t, 0.0)
    top_s = tl.full((block,), LOWEST, tl.float32)
    top_t = tl.full((block,), LOWEST, tl.float32)
    sum_s = tl.zeros((block,), tl.float32)
    sum_t = tl.zeros((block,), tl.float32)
    gaps = tl.zeros((block,), tl.float32)
    for start in range(0, size, block):
        columns, inside = _columns(start, size, block)
        xs = _tempered(tl.load(zs + columns, inside, 0.0), inside, per_tau)
        xt = _tempered(tl.load(zt + columns, inside, 0.0), inside, per_tau)
        gap = ((xs - base_s) - (xt - base_t)) * SHRINK
        rises = xs > top_s
        top_s, sum_s, fade = _joined(top_s, sum_s, xs)
        gaps = tl.where(rises, gaps * fade + gap, gaps + gap * fade)
        top_t, sum_t, fade = _joined(top_t, sum_t, xt)
    highest_s, total_s = _normaliser(top_s, sum_s)
    highest_t, total_t = _normaliser(top_t, sum_t)
    weighted = tl.sum(gaps * tl.exp(top_s - highest_s), 0) / total_s * GROW
    lift_s = (highest_s - base_s) + tl.log(total_s)
    lift_t = (highest_t - base_t) + tl.log(total_t)
    return highest_s, total_s, highest_t, total_t, weighted - lift_s + lift_t


@triton.jit
def _term(kind: tl.constexpr, s, ls, t, lt, beta):
    """Return the terms of the loss and the pulls on the student's logits."""
    if kind == "forward-kl":
        term = t * (lt - ls)
        pull = -t
    elif kind == "reverse-kl":
        term = s * (ls - lt)
        pull = term
    elif kind == "jsd":
        log_mix = tl.log(tl.maximum(beta * t + (1.0 - beta) * s, TINY))
        pull = (1.0 - beta) * s * (ls - log_mix)
        term = beta * t * (lt - log_mix) + pull
    elif kind == "skew-kl":
        mix = tl.maximum(beta * t + (1.0 - beta) * s, TINY)
        pull = (beta - 1.0) * s * (t / mix)
        term = t * (lt - tl.log(mix))
    elif kind == "skew-rkl":
        mix = tl.maximum(beta * s + (1.0 - beta) * t, TINY)
        term = s * (ls - tl.log(mix))
        pull = term - beta * s * (s / mix)
    else:
        tl.static_assert(kind == "tvd")
        term = 0.5 * tl.abs(s - t)
        pull = tl.where(s > t, 0.5 * s, tl.where(s < t, -0.5 * s, 0.0))
    return term, pull


@triton.jit
def _softmax(z, inside, per_tau, norm):
    """Return probabilities and their logarithms of a block of a row."""
    highest, log_total, per_total = norm
    x = _tempered(z, inside, per_tau) - highest
    return tl.exp(x) * per_total, x - log_total


@triton.jit
def _block_terms(kind: tl.constexpr, z, z_teacher, inside, per_tau, norm_s, norm_t, beta):
    """Return terms, pulls and the student's probabilities of a block of a row."""
    s, ls = _softmax(z, inside, per_tau, norm_s)
    t, lt = _softmax(z_teacher, inside, per_tau, norm_t)
    term, pull = _term(kind, s, ls, t, lt, beta)
    return term, pull, s


@triton.jit
def _logit_gradient(pull, s, pulls, rate, z, per_cap, capped: tl.constexpr):
    """Return the gradient of h W^T + b from pulls on tempered logits."""
    gradient = (pull - s * pulls) * rate
    if capped:  # d softcap tanh(u) / du = softcap (1 - tanh^2)
        tanh = z.to(tl.float32) * per_cap
        gradient = gradient * (1.0 - tanh * tanh)
    return gradient


@triton.jit
def divergence_rows(
    student,  # (R, V) logits, each row overwritten by its gradient
    teacher,  # (R, V) logits
    loss,  # (R,) float32, written
    rates,  # (R,) float32: what the gradient for tempered logits is multiplied with
    student_stride,
    teacher_stride,
    per_tau,
    beta,
    factor,
    per_cap,
    kind: tl.constexpr,
    capped: tl.constexpr,
    with_gradient: tl.constexpr,
    size: tl.constexpr,
    block: tl.constexpr,
):
    """Write the divergence of one row and turn its student logits into the gradient."""
    row = tl.program_id(0).to(tl.int64)
    zs = student + row * student_stride
    zt = teacher + row * teacher_stride
    top_s, sum_s, top_t, sum_t, reverse = _normalisers(zs, zt, per_tau, size, block)
    norm_s = (top_s, tl.log(sum_s), 1.0 / sum_s)
    norm_t = (top_t, tl.log(sum_t), 1.0 / sum_t)
    known: tl.constexpr = kind == "forward-kl" or kind == "reverse-kl"
    pulls = reverse if kind == "reverse-kl" else -1.0
    terms = tl.zeros((block,), tl.float32)
    if not known:
        pulling = tl.zeros((block,), tl.float32)
        for start in range(0, size, block):
            columns, inside = _columns(start, size, block)
            z, zt_block = tl.load(zs + columns, inside, 0.0), tl.load(zt + columns, inside, 0.0)
            term, pull, _ = _block_terms(kind, z, zt_block, inside, per_tau, norm_s, norm_t, beta)
            terms += term
            pulling += pull
        pulls = tl.sum(pulling, 0)
    if known or with_gradient:
        rate = tl.load(rates + row)
        for start in range(0, size, block):
            columns, inside = _columns(start, size, block)
            z, zt_block = tl.load(zs + columns, inside, 0.0), tl.load(zt + columns, inside, 0.0)
            term, pull, s = _block_terms(kind, z, zt_block, inside, per_tau, norm_s, norm_t, beta)
            if known:
                terms += term
            if with_gradient:
                gradient = _logit_gradient(pull, s, pulls, rate, z, per_cap, capped)
                tl.store(zs + columns, gradient.to(student.dtype.element_ty), inside)
    value = tl.sum(terms, 0) * factor
    tl.store(loss + row, tl.where(value < 0.0, 0.0, value))


@triton.jit
def cross_entropy_rows(
    student,  # (R, V) logits, each row overwritten by its gradient
    labels,  # (R,) int64 columns
    loss,  # (R,) float32, written
    rates,  # (R,) float32
    student_stride,
    per_tau,
    per_cap,
    capped: tl.constexpr,
    with_gradient: tl.constexpr,
    size: tl.constexpr,
    block: tl.constexpr,
):
    """Write -log s at the label of one row and turn its logits into the gradient."""
    row = tl.program_id(0).to(tl.int64)
    zs = student + row * student_stride
    label = tl.load(labels + row)
    top = tl.full((block,), LOWEST, tl.float32)
    total = tl.zeros((block,), tl.float32)
    for start in range(0, size, block):
        columns, inside = _columns(start, size, block)
        x = _tempered(tl.load(zs + columns, inside, 0.0), inside, per_tau)
        top, total, _ = _joined(top, total, x)
    highest, total = _normaliser(top, total)
    aimed = _tempered(tl.load(zs + label), True, per_tau)
    value = tl.log(total) - (aimed - highest)
    tl.store(loss + row, tl.where(value < 0.0, 0.0, value))
    if with_gradient:
        rate = tl.load(rates + row)
        # The label is read by every thread: none may overwrite it before all have read it.
        tl.debug_barrier()
        for start in range(0, size, block):
            columns, inside = _columns(start, size, block)
            z = tl.load(zs + columns, inside, 0.0)
            s = tl.exp(_tempered(z, inside, per_tau) - highest) * (1.0 / total)
            pull = tl.where(columns == label, -1.0, 0.0)
            gradient = _logit_gradient(pull, s, -1.0, rate, z, per_cap, capped)
            tl.store(zs + columns, gradient.to(student.dtype.element_ty), inside)
