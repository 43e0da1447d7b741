"""The specification: every output of the agreement kernel in float64, one formula a line.

Faster implementations are right when they agree with this file. It materialises several [T, V]
tables, so give it few rows.

p, q are the softmaxes of a, b; d = log p - log q. Where both are impossible d is 0. Sums of
q - p vanish, so they are added to each KL to make every term non-negative: identical inputs give
exactly 0 and nearly identical ones lose no digits to cancellation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.kernels.pairs import Fields, LogitPair, Wanted, refuse_unusable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Logs:
    """Log-probabilities of both models, (T, V) float64."""

    a: Tensor
    b: Tensor

    @property
    def gap(self) -> Tensor:
        """(T, V): d; 0 where both are impossible, +-inf where one is."""
        both = torch.isneginf(self.a) & torch.isneginf(self.b)
        return torch.where(both, 0.0, self.a - self.b)


def agreement_fields(pair: LogitPair, wanted: Wanted) -> Fields:
    """Return every output by name: floats as float64, counts as int64."""
    refuse_unusable("a", pair.a, pair.numbers)
    refuse_unusable("b", pair.b, pair.numbers)
    a, b, logs = pair.a.double(), pair.b.double(), _log_probabilities(pair)
    fields = {
        "lse_a": _lse(a, pair.lse_a),
        "lse_b": _lse(b, pair.lse_b),
        "entropy_a": _weighted(logs.a.exp(), logs.a).sum(1).neg().clamp(min=0.0),
        "entropy_b": _weighted(logs.b.exp(), logs.b).sum(1).neg().clamp(min=0.0),
        "kl_ab": kl_divergence(logs.a, logs.b),
        "kl_ba": kl_divergence(logs.b, logs.a),
        "argmax_a": first_argmax(a),
        "argmax_b": first_argmax(b),
        **overlap_fields(pair),
        **correlation_fields(pair),
    }
    if pair.tokens is not None:
        fields |= _token_fields(a, b, logs, pair.tokens)
    if wanted.tier == "full":
        fields |= _distances(logs)
        fields |= _orders(a, b, fields["argmax_a"], wanted.topk)
    return fields


def _lse(table: Tensor, given: Tensor | None) -> Tensor:
    return torch.logsumexp(table, 1) if given is None else given


def _log_probabilities(pair: LogitPair) -> _Logs:
    a, b = pair.a.double(), pair.b.double()
    return _Logs(a=a - _lse(a, pair.lse_a)[:, None], b=b - _lse(b, pair.lse_b)[:, None])


def overlap_fields(pair: LogitPair) -> Fields:
    """Return the logarithm of the Bhattacharyya coefficient; -inf where no token is shared."""
    logs = _log_probabilities(pair)
    return {"log_bc": torch.logsumexp((logs.a + logs.b) / 2, 1).clamp(max=0.0)}


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return (T,) sum of p d - p + q; inf where q lacks a token that p has."""
    p, q = log_p.exp(), log_q.exp()
    d = _Logs(a=log_p, b=log_q).gap
    return (_weighted(p, d) + (q - p)).sum(1).clamp(min=0.0)


def _weighted(weight: Tensor, value: Tensor) -> Tensor:
    """Return weight * value, with 0 * inf taken as 0."""
    return torch.where(weight > 0, weight * value, 0.0)


def _distances(logs: _Logs) -> Fields:
    p, q, size = logs.a.exp(), logs.b.exp(), logs.gap.abs()
    ratio = torch.exp(-size)  # smaller over larger probability
    # ln 2 - ln(1 + ratio), without cancellation where the ratio is near 1
    log_gain = -torch.log1p(torch.expm1(-size) / 2)
    js_terms = (1 + ratio) * log_gain - _weighted(ratio, size)
    return {
        "js": (0.5 * torch.maximum(p, q) * js_terms).sum(1),
        "tv": 0.5 * (p - q).abs().sum(1),
        "hellinger2": 0.5 * ((logs.a / 2).exp() - (logs.b / 2).exp()).square().sum(1),
    }


def correlation_fields(pair: LogitPair) -> Fields:
    """Return cosine and Pearson over the ids that both allow; NaN where a side has no spread."""
    a, b = pair.a.double(), pair.b.double()
    both = torch.isfinite(a) & torch.isfinite(b)
    count = both.sum(1, keepdim=True)
    a, b = torch.where(both, a, 0.0), torch.where(both, b, 0.0)
    centred_a = torch.where(both, a - a.sum(1, keepdim=True) / count, 0.0)
    centred_b = torch.where(both, b - b.sum(1, keepdim=True) / count, 0.0)
    # a constant row leaves rounding dust after centring: it has no spread
    flat = (_spread(a, both) == 0) | (_spread(b, both) == 0)
    pearson = torch.where(flat, float("nan"), _cosine(centred_a, centred_b))
    return {"cosine": _cosine(a, b), "pearson": pearson}


def _spread(table: Tensor, mask: Tensor) -> Tensor:
    high = torch.where(mask, table, float("-inf")).amax(1)
    low = torch.where(mask, table, float("inf")).amin(1)
    return torch.where(mask.any(1), high - low, 0.0)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    return ((a * b).sum(1) / norms).clamp(-1.0, 1.0)  # 0 / 0 is NaN: undefined


def _token_fields(a: Tensor, b: Tensor, logs: _Logs, tokens: Tensor) -> Fields:
    at = tokens[:, None]
    return {
        "logp_a": logs.a.gather(1, at)[:, 0],
        "logp_b": logs.b.gather(1, at)[:, 0],
        "rank_a": rank_of(a, tokens),
        "rank_b": rank_of(b, tokens),
        "ties_a": (a == a.gather(1, at)).sum(1) - 1,
        "ties_b": (b == b.gather(1, at)).sum(1) - 1,
    }


def _orders(a: Tensor, b: Tensor, argmax_a: Tensor, topk: tuple[int, ...]) -> Fields:
    most = max(topk, default=0)
    order_a, order_b = (
        torch.sort(table, dim=1, descending=True, stable=True).indices[:, :most] for table in (a, b)
    )
    return {
        "rank_argmax_a_in_b": rank_of(b, argmax_a),
        "topk_overlap": overlaps(order_a, order_b, topk),
    }


def overlaps(order_a: Tensor, order_b: Tensor, topk: tuple[int, ...]) -> Tensor:
    """Return (T, K): share of the first min(k, V) ids of one order among those of the other."""
    size = order_a.shape[1]
    # Sorted together, an id of both stands beside itself; it counts from the size on that takes
    # in both of its places.
    ids, place = torch.cat([order_a, order_b], 1).sort(1)
    place = place % size
    later = torch.maximum(place[:, 1:], place[:, :-1])
    later.masked_fill_(ids[:, 1:] != ids[:, :-1], size)
    sizes = torch.tensor(topk, dtype=torch.int64, device=order_a.device).clamp(max=size)  # (K,)
    return (later[:, :, None] < sizes).sum(1).double() / sizes


def rank_of(table: Tensor, ids: Tensor) -> Tensor:
    """Return (T,) 1 + the number of ids with a larger logit."""
    return 1 + (table > table.gather(1, ids[:, None])).sum(1)


def first_argmax(table: Tensor) -> Tensor:
    """Return (T,) the lowest id of those with the largest logit."""
    return (table == table.amax(1, keepdim=True)).int().argmax(1)
