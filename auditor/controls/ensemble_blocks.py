"""Forward and backward of the parts of a decoder layer, for many members at once.

Written out by hand: a gradient then costs no recorded graph, works in place, and keeps only what
it needs. Every formula is checked against autograd in the tests.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

_GELU = math.sqrt(2 / math.pi)
_CUBIC = 0.044715
_SCRATCH_BYTES = {"cpu": 1 << 20, "cuda": 1 << 30}
"""Attention scores worked on at once: they stay in the cache, or fill a good share of a GPU."""


class Normed(NamedTuple):
    """A normalised activation, before gain and shift."""

    x: Tensor
    """(E, d, N)."""
    rate: Tensor
    """(E, 1, N): 1 / standard deviation (llama: 1 / root mean square)."""


def normed(x: Tensor, epsilon: float, *, centred: bool) -> Normed:
    """Return x (E, d, N) normalised over d: LayerNorm if `centred`, otherwise RMSNorm."""
    if centred:
        x = x - x.mean(1, keepdim=True)
    rate = (x * x).mean(1, keepdim=True).add_(epsilon).rsqrt_()
    return Normed(x * rate, rate)


def normed_backward(dy: Tensor, saved: Normed, *, centred: bool) -> Tensor:
    """Return dx from the gradient of a normalised activation; overwrites `dy`."""
    along = (dy * saved.x).mean(1, keepdim=True)
    if centred:
        dy.sub_(dy.mean(1, keepdim=True))
    return dy.addcmul_(saved.x, along, value=-1.0).mul_(saved.rate)


class Rotation(NamedTuple):
    """Cosines and sines of RoPE, each (head size / 2, T)."""

    cos: Tensor
    sin: Tensor


def rotation(head_size: int, positions: Tensor, base: float) -> Rotation:
    """Return the rotations of RoPE at positions (T,) (Su et al. 2021, arXiv 2104.09864, eq. 15)."""
    exponent = torch.arange(0, head_size, 2, device=positions.device).float() / head_size
    angle = torch.outer(1.0 / base**exponent, positions.float())
    return Rotation(angle.cos(), angle.sin())


def rotate(x: Tensor, turn: Rotation, out: Tensor, *, back: bool = False) -> None:
    """Write x (..., head size, T) turned by RoPE, or turned back, into `out`.

    Number i and number i + head size / 2 of a head form a pair, as in transformers.
    """
    half = x.shape[-2] // 2
    sign = -1.0 if back else 1.0
    a, b = x[..., :half, :], x[..., half:, :]
    torch.mul(a, turn.cos, out=out[..., :half, :]).addcmul_(b, turn.sin, value=-sign)
    torch.mul(b, turn.cos, out=out[..., half:, :]).addcmul_(a, turn.sin, value=sign)


def split_heads(qkv: Tensor, heads: int, sequences: int) -> Tensor:
    """Return (E, 3d, B*T) as (3, E, B, H, d/H, T); a view."""
    e, rows, n = qkv.shape
    size = rows // 3 // heads
    return qkv.view(e, 3, heads, size, sequences, n // sequences).permute(1, 0, 4, 2, 3, 5)


def heads_in(qkv: Tensor, heads: int, sequences: int, turn: Rotation | None) -> Tensor:
    """Return queries, keys and values (3, E*B*H, d/H, T), contiguous, turned by RoPE if given."""
    parts = split_heads(qkv, heads, sequences)
    if turn is None:
        return parts.contiguous().flatten(1, 3)
    out = torch.empty(parts.shape, device=qkv.device)
    rotate(parts[:2], turn, out[:2])
    out[2].copy_(parts[2])
    return out.flatten(1, 3)


def heads_in_backward(dheads: Tensor, heads: int, sequences: int, turn: Rotation | None) -> Tensor:
    """Return the gradient of qkv, (E, 3d, B*T), from that of `heads_in`'s result."""
    _, m, size, t = dheads.shape
    e = m // (sequences * heads)
    dqkv = torch.empty(e, 3 * heads * size, sequences * t, device=dheads.device)
    parts = split_heads(dqkv, heads, sequences)
    given = torch.unflatten(dheads, 1, (e, sequences, heads))
    if turn is None:
        parts.copy_(given)
        return dqkv
    rotate(given[:2], turn, parts[:2], back=True)
    parts[2].copy_(given[2])
    return dqkv


def attention(qkv: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the attention's values (M, d/H, T) and its probabilities (M, T, T).

    Args:
        qkv: (3, M, d/H, T), M = E*B*H.
        mask: (T, T), 0 or -inf, added to the scores.
    """
    q, k, v = qkv
    values, p = torch.empty_like(v), v.new_empty(v.shape[0], *mask.shape)
    scale, step = q.shape[1] ** -0.5, _matrices_at_once(p)
    scratch = p.new_empty(min(step, v.shape[0]), *mask.shape)
    parts = zip(*(x.split(step) for x in (q.transpose(1, 2), k, v, p, values)), strict=True)
    for q_t, k_, v_, p_, out in parts:
        scores = scratch[: len(p_)]
        torch.baddbmm(mask, q_t, k_, alpha=scale, out=scores)
        torch.softmax(scores, 2, out=p_)
        torch.bmm(v_, p_.transpose(1, 2), out=out)
    return values, p


def _matrices_at_once(p: Tensor) -> int:
    """Return how many (T, T) matrices to work on at once: on a CPU they never leave the cache."""
    return max(1, _SCRATCH_BYTES.get(p.device.type, 1 << 20) // (4 * p.shape[1] * p.shape[2]))


def attention_backward(dout: Tensor, qkv: Tensor, p: Tensor) -> Tensor:
    """Return the gradient of `qkv`, (3, M, d/H, T), from that of the values (M, d/H, T).

    The probabilities are overwritten.
    """
    dqkv, step = torch.empty_like(qkv), _matrices_at_once(p)
    scratch = p.new_empty(min(step, p.shape[0]), *p.shape[1:])
    tensors = (dout, dout.transpose(1, 2), p, *qkv, *dqkv)
    for do, do_t, p_, q, k, v, dq, dk, dv in zip(*(x.split(step) for x in tensors), strict=True):
        torch.bmm(do, p_, out=dv)
        dp = torch.bmm(do_t, v, out=scratch[: len(p_)])
        # p (dp - sum of p dp over keys)
        ds = torch.ops.aten._softmax_backward_data(dp, p_, 2, torch.float32, grad_input=p_)
        torch.bmm(k, ds.transpose(1, 2), out=dq)
        torch.bmm(q, ds, out=dk)
    dqkv[:2].mul_(qkv.shape[2] ** -0.5)
    return dqkv


def merge_heads(x: Tensor, members: int, sequences: int) -> Tensor:
    """Return (E, d, B*T) from (E*B*H, d/H, T)."""
    m, size, t = x.shape
    heads = m // (members * sequences)
    parts = x.view(members, sequences, heads * size, t)
    return parts.transpose(1, 2).reshape(members, heads * size, sequences * t)


def unmerge_heads(x: Tensor, heads: int, sequences: int) -> Tensor:
    """Return (E*B*H, d/H, T) from (E, d, B*T)."""
    e, d, n = x.shape
    parts = x.view(e, d, sequences, n // sequences).transpose(1, 2)
    return parts.reshape(e * sequences * heads, d // heads, n // sequences)


class Gated(NamedTuple):
    """What the backward pass of an activation needs."""

    inner: Tensor
    """(E, inner or 2 inner, N): before the activation."""
    gate: Tensor
    """(E, inner, N): the logistic function of (a cubic of) the gate."""


def swiglu(inner: Tensor) -> tuple[Tensor, Gated]:
    """Return silu(g) * u from (E, 2 inner, N), g the upper rows and u the lower."""
    g, u = inner.chunk(2, 1)
    gate = torch.sigmoid(g)
    return (g * gate).mul_(u), Gated(inner, gate)


def swiglu_backward(dy: Tensor, saved: Gated) -> Tensor:
    """Return the gradient of swiglu's input, (E, 2 inner, N)."""
    g, u = saved.inner.chunk(2, 1)
    dinner = torch.empty_like(saved.inner)
    dg, du = dinner.chunk(2, 1)
    silu = torch.mul(g, saved.gate)
    torch.mul(dy, silu, out=du)
    # silu' = gate + silu (1 - gate)
    torch.add(saved.gate, silu, out=dg).addcmul_(silu, saved.gate, value=-1.0)
    dg.mul_(u).mul_(dy)
    return dinner


def gelu(inner: Tensor) -> tuple[Tensor, Gated]:
    """Return gelu_new of (E, inner, N): x times the logistic of 2 sqrt(2/pi) (x + 0.044715 x^3).

    The same function as 0.5 x (1 + tanh(...)), Hendrycks & Gimpel 2016 (arXiv 1606.08415), sec. 2.
    """
    gate = (inner * inner).mul_(2 * _GELU * _CUBIC).add_(2 * _GELU).mul_(inner).sigmoid_()
    return inner * gate, Gated(inner, gate)


def gelu_backward(dy: Tensor, saved: Gated) -> Tensor:
    """Return the gradient of gelu's input, (E, inner, N)."""
    x, gate = saved
    slope = (x * x).mul_(6 * _GELU * _CUBIC).add_(2 * _GELU).mul_(x)  # x times the cubic's slope
    # gelu' = gate + x gate (1 - gate) slope
    slope.mul_(1.0 - gate).add_(1.0).mul_(gate)
    return slope.mul_(dy)
