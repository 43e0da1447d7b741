"""Position and top-k rows of (P, T, V) logit tables: a float64 oracle, formula by formula."""

import numpy as np

from auditor.collect.topk import topk_dtype
from auditor.outputs import POSITION, TOPK
from auditor.types import Array

K = 10


def tokens_of(a: Array) -> Array:
    """Return (P * T,) the tokens of the reference's own text: draws from its distributions."""
    rows = a.reshape(-1, a.shape[-1])
    return np.argmax(rows + np.random.RandomState(3).gumbel(size=rows.shape), axis=1)


def positions_of(a: Array, b: Array) -> Array:
    """Return (P * T,) POSITION rows of reference `a` and another model `b`.

    Probabilities of 0 are given as -inf; an infinite divergence is stored as NaN.
    """
    count, length, _ = a.shape
    rows = np.zeros(count * length, dtype=POSITION)
    rows["probe"] = np.repeat(np.arange(count), length)
    rows["token"] = tokens_of(a)
    for row, x, y in zip(rows, a.reshape(len(rows), -1), b.reshape(len(rows), -1), strict=True):
        _fill(row, x, y)
    return rows


def _fill(row: np.void, x: Array, y: Array) -> None:
    p, q = _softmax(x), _softmax(y)
    m = (p + q) / 2
    row["kl_ab"], row["kl_ba"] = _kl(p, q), _kl(q, p)
    row["js"] = (_kl(p, m) + _kl(q, m)) / 2
    row["tv"] = np.abs(p - q).sum() / 2
    row["hellinger2"] = np.square(np.sqrt(p) - np.sqrt(q)).sum() / 2
    row["rank_argmax_a_in_b"] = 1 + (y > y[np.argmax(x)]).sum()
    first_x, first_y = (np.argsort(-z, kind="stable") for z in (x, y))
    for column, k in enumerate(min(k, len(x)) for k in TOPK):
        row["topk_overlap"][column] = len({*first_x[:k]} & {*first_y[:k]}) / k
    for side, logits, share in (("a", x, p), ("b", y, q)):
        with np.errstate(divide="ignore"):
            row[f"logp_{side}"] = np.log(share[row["token"]])
        row[f"entropy_{side}"] = -(share[share > 0] * np.log(share[share > 0])).sum()
        row[f"argmax_{side}"] = np.argmax(logits)
        row[f"rank_{side}"] = 1 + (logits > logits[row["token"]]).sum()


def _softmax(z: Array) -> Array:
    shifted = np.exp(z - z.max())
    return shifted / shifted.sum()


def _kl(p: Array, q: Array) -> float:
    if (q[p > 0] == 0).any():
        return float("nan")
    return float(max(0.0, (p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum()))


def topk_of(logits: Array, k: int = K) -> Array:
    """Return (P * T,) rows of the `k` likeliest tokens and the probability of all others."""
    count, length, _ = logits.shape
    rows = np.zeros(count * length, dtype=topk_dtype(k))
    rows["probe"] = np.repeat(np.arange(count), length)
    for row, z in zip(rows, logits.reshape(len(rows), -1), strict=True):
        share, first = _softmax(z), np.argsort(-z, kind="stable")
        row["ids"] = first[:k]
        with np.errstate(divide="ignore"):
            row["logprobs"] = np.log(share[first[:k]])
        row["tail"] = share[first[k:]].sum()
    return rows
