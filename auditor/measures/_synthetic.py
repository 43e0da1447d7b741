"""The synthetic control: weights of the pool that predict the reference, and what they leave.

Fitted on the replies of the pool's own controls, never on the suspect's: there, a control that
resembles the suspect would take the weight, and a link could not show (Abadie,
Diamond & Hainmueller 2010, equation 2: weights of at least 0 that sum to 1).
"""

from dataclasses import dataclass

import numpy as np

from auditor.measures._crossing import STRATA, Residuals
from auditor.measures._simplex import simplex_weights
from auditor.measures._tempering import tempered
from auditor.types import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Residuals over the replies of each of B subsets and S strata; author 0 is the suspect."""

    cross: Array
    """(B, S, F, F) sums over the controls' replies of products of nats a byte, times bytes."""
    total: Array
    """(B, S, 1 + A, F) nats of each author's replies."""
    bytes: Array
    """(B, S, 1 + A)."""

    @property
    def means(self) -> Array:
        """(B, S, 1 + A, F) nats a byte: NaN where an author has no reply."""
        length = self.bytes[..., None]
        empty = np.full(self.total.shape, np.nan)
        return np.divide(self.total, length, out=empty, where=length > 0)

    @property
    def joined(self) -> "Moments":
        """The same over both strata together, as one stratum."""
        return Moments(
            cross=self.cross.sum(axis=1, keepdims=True),
            total=self.total.sum(axis=1, keepdims=True),
            bytes=self.bytes.sum(axis=1, keepdims=True),
        )


def moments(found: Residuals, chosen: Array, candidates: Array) -> Moments:
    """Return the moments on subsets of the probes.

    Args:
        found: the crossing.
        chosen: (B, P) bool.
        candidates: (B,) temperature at which the suspect's replies are scored, of
            `relative_temperatures`.
    """
    b, (a, p, _, f) = len(chosen), found.pool.shape
    inside = [(chosen & (found.stratum == s)).astype(np.float64) for s in range(len(STRATA))]
    products = sum(map(_products, found.pool, found.bytes[1:]))  # (P, T)
    sums = found.pool.sum(axis=2).transpose(1, 0, 2).reshape(p, a * f)  # (P, A * F)
    length = found.bytes.sum(axis=2).T  # (P, 1 + A)
    total = np.zeros((b, len(STRATA), 1 + a, f))
    for s, taken in enumerate(inside):
        total[:, s, 1:] = (taken @ sums).reshape(b, a, f)
    for candidate in np.unique(candidates).tolist():
        rows = candidates == candidate
        own = tempered(found, candidate).sum(axis=1)  # (P, F)
        for s, taken in enumerate(inside):
            total[rows, s, 0] = taken[rows] @ own
    return Moments(
        cross=_square(np.stack([taken @ products for taken in inside], axis=1), f),
        total=total,
        bytes=np.stack([taken @ length for taken in inside], axis=1),
    )


def _products(values: Array, length: Array) -> Array:
    """Return (P, F (F + 1) / 2): products of the scorers over bytes, summed over a probe's replies.

    (nats / bytes)^2 times bytes: a reply counts by its bytes.
    """
    share = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    first, second = np.triu_indices(values.shape[2])
    return np.einsum("pn,pnf,pnf->pf", share, values[..., first], values[..., second])


def _square(upper: Array, f: int) -> Array:
    """Return (B, S, F, F) symmetric from its upper triangles."""
    first, second = np.triu_indices(f)
    full = np.zeros((*upper.shape[:2], f, f))
    full[..., first, second] = full[..., second, first] = upper
    return full


def fitted_weights(sums: Moments) -> Array:
    """Return (B, K): the weights of the synthetic control on each subset.

    Least squares on nats a byte, each byte counting alike. Both strata count alike, each in units
    of its mean square: models differ many times more about noise than about prose.
    """
    scale = sums.cross[..., 0, 0]  # (B, S)
    unit = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    joint = (sums.cross * unit[..., None, None]).sum(axis=1)
    return simplex_weights(joint[:, 1:, 1:], joint[:, 1:, 0])


def unexplained(means: Array, weights: Array) -> Array:
    """Return (..., F) -> (...): the mean of lp_reference - sum of w_c lp_c, in nats a byte.

    Args:
        means: (B, ..., F) mean residuals.
        weights: (B, K).
    """
    between = weights.reshape(len(weights), *[1] * (means.ndim - 2), -1)
    return means[..., 0] - (means[..., 1:] * between).sum(axis=-1)


def scorer_spread(sums: Moments, own: Array) -> Array:
    """Return (B, S, 1 + A): how far the controls differ about each author's replies.

    The root mean square over the controls c of what c finds in this author's replies beyond what it
    finds in other authors' replies, without the largest: that of the model that the author
    started from or was trained like, if it is in the pool. NaN without replies.

    Args:
        sums: of the replies.
        own: (A, K) bool, an author that is the scorer.
    """
    means = sums.means[..., 1:]  # (B, S, 1 + A, K)
    others = np.concatenate([np.ones((1, own.shape[1]), dtype=bool), ~own])
    known = np.isfinite(means) & others
    values = np.where(known, means, 0.0)
    total = values[:, :, 1:].sum(axis=2, keepdims=True)
    number = known[:, :, 1:].sum(axis=2, keepdims=True)
    # Each author against the others: a control's own replies do not count in its comparison.
    inside = known.copy()
    inside[:, :, 0] = False
    rest = np.maximum(number - inside, 1)
    apart = np.where(known, (values - (total - np.where(inside, values, 0.0)) / rest) ** 2, 0.0)
    used = known.sum(axis=-1)
    trimmed = apart.sum(axis=-1) - apart.max(axis=-1)
    enough = used > 1
    return np.sqrt(np.divide(trimmed, used - 1, out=np.full(used.shape, np.nan), where=enough))
