"""Divergence of two next-token distributions of which only the likeliest tokens were stored."""

import math

import numpy as np

from auditor.types import Array

_BLOCK = 1 << 13  # rows at a time: bounds the (rows, k, k') comparison of ids


def coarse_divergence(a: Array, b: Array) -> Array:
    """Return (T,) nats: the smallest Jensen-Shannon divergence that two top-k rows allow.

    Tokens in both lists are compared one by one. Let A be what `a` gives to tokens that only `a`
    lists, B what `b` gives to those that only `b` lists, and s, t the tails of `a` and `b`. What
    `b` gives to the former is unknown but at most t, and what `a` gives to the latter at most s.
    The divergence is convex and homogeneous, so its minimum has one ratio for all of them where
    these limits allow it, A B <= s t: one bucket holds A + s against B + t. Otherwise each tail is
    spent on the other's tokens: buckets of A against t and of s against B. So lists without a
    common token are far apart, not equal, and lists of the whole vocabulary are exact.

    Args:
        a: (T,) rows with ``ids``, ``logprobs`` and ``tail``.
        b: the same of another model at the same positions; it may list another number of tokens.
    """
    total = np.zeros(len(a))
    for start in range(0, len(a), _BLOCK):
        rows = slice(start, start + _BLOCK)
        total[rows] = _block(a[rows], b[rows])
    return np.clip(total, 0.0, math.log(2))


def _block(a: Array, b: Array) -> Array:
    p, q = (np.exp(rows["logprobs"].astype(np.float64)) for rows in (a, b))  # (t, k), (t, k')
    row, ours, theirs = _common(a["ids"], b["ids"])
    common = np.bincount(row, weights=_term(p[row, ours], q[row, theirs]), minlength=len(a))
    p[row, ours] = q[row, theirs] = 0.0
    only_a, only_b = p.sum(axis=1), q.sum(axis=1)
    s, t = a["tail"], b["tail"]
    one_bucket = _term(only_a + s, only_b + t)
    return common + np.where(
        only_a * only_b <= s * t, one_bucket, _term(only_a, t) + _term(s, only_b)
    )


def _common(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Return row, column in `a` and column in `b` of each token that a row has in both.

    Args:
        a: (t, k) distinct ids in each row.
        b: (t, k').
    """
    order = np.argsort(b, axis=1)
    # One sorted list of (row, id) for all rows: an id has 32 bits.
    first = np.arange(len(a), dtype=np.int64)[:, None] << 32
    listed = (first + np.take_along_axis(b, order, axis=1)).ravel()
    wanted = (first + a).ravel()
    place = np.minimum(np.searchsorted(listed, wanted), len(listed) - 1)
    row, ours = np.nonzero((listed[place] == wanted).reshape(a.shape))
    return row, ours, order.ravel()[place.reshape(a.shape)[row, ours]]


def _term(x: Array, y: Array) -> Array:
    """Return what masses x and y of one bucket add to the divergence: 0 where they are equal."""
    middle, half = (x + y) / 2, (x - y) / 2
    ratio = np.divide(half, middle, out=np.zeros_like(middle), where=middle > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # the logarithm is -inf where a mass is 0, which then adds nothing
        left = np.where(x > 0, x * np.log1p(ratio), 0.0)
        right = np.where(y > 0, y * np.log1p(-ratio), 0.0)
    return np.maximum((left + right) / 2, 0.0)
