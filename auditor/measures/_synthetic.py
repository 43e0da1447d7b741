"""The synthetic control: weights of the pool that predict the reference, and what they leave.

Fitted on the replies of the pool's own controls, never on the suspect's: there, a control that
resembles the suspect would take the weight, and a link could not show (Abadie,
Diamond & Hainmueller 2010, equation 2: weights of at least 0 that sum to 1).
"""

from dataclasses import dataclass, fields

import numpy as np

from auditor.measures._crossing import STRATA, Residuals
from auditor.measures._simplex import simplex_weights
from auditor.measures._tempering import tempered
from auditor.types import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Sums over the replies of each of B subsets and S strata; author 0 is the suspect."""

    cross: Array
    """(B, S, F, F) products of nats a byte, times bytes, of all controls' replies together."""
    total: Array
    """(B, S, 1 + A, F) nats."""
    squares: Array
    """(B, S, 1 + A, F) squares of nats a byte, times bytes."""
    bytes: Array
    """(B, S, 1 + A)."""
    replies: Array
    """(B, S, 1 + A)."""

    @property
    def means(self) -> Array:
        """(B, S, 1 + A, F) nats a byte: NaN where an author has no reply."""
        return ratio(self.total, self.bytes[..., None])

    @property
    def joined(self) -> "Moments":
        """The same over both strata together, as one stratum."""
        sums = {f.name: getattr(self, f.name).sum(axis=1, keepdims=True) for f in fields(self)}
        return Moments(**sums)


def moments(found: Residuals, chosen: Array, candidates: Array) -> Moments:
    """Return the moments on subsets of the probes.

    Args:
        found: the crossing.
        chosen: (B, P) bool.
        candidates: (B,) temperature at which the suspect's replies are scored, of
            `relative_temperatures`.
    """
    b, f = len(chosen), found.pool.shape[-1]
    inside = [(chosen & (found.stratum == s)).astype(np.float64) for s in range(len(STRATA))]
    pool = _over_probes(inside, _sums(found.pool, found.bytes[1:]))  # (B, S, A, 2, F)
    own = np.zeros((b, len(STRATA), 1, 2, f))
    for candidate in np.unique(candidates).tolist():
        rows = candidates == candidate
        values = tempered(found, candidate)[None]
        own[rows] = _over_probes([taken[rows] for taken in inside], _sums(values, found.bytes[:1]))
    both = np.concatenate([own, pool], axis=2)
    products = np.sum([*map(_products, found.pool, found.bytes[1:])], axis=0)  # (P, T)
    return Moments(
        cross=_square(_over_probes(inside, products), f),
        total=both[..., 0, :],
        squares=both[..., 1, :],
        bytes=_over_probes(inside, found.bytes.sum(axis=2).T),
        replies=_over_probes(inside, (found.bytes > 0).sum(axis=2).T),
    )


def _over_probes(inside: list[Array], values: Array) -> Array:
    """Return (B, S, ...): the sums of (P, ...) values over the chosen probes of each stratum."""
    flat = values.reshape(len(values), -1)
    sums = np.stack([taken @ flat for taken in inside], axis=1)
    return sums.reshape(*sums.shape[:2], *values.shape[1:])


def _sums(values: Array, length: Array) -> Array:
    """Return (P, A, 2, F): nats, and squares of nats a byte times bytes, of each probe's replies.

    Args:
        values: (A, P, N, F) nats.
        length: (A, P, N) bytes.
    """
    squares = np.einsum("apn,apnf,apnf->paf", _inverse(length), values, values)
    return np.stack([values.sum(axis=2).transpose(1, 0, 2), squares], axis=2)


def _inverse(length: Array) -> Array:
    return np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)


def ratio(above: Array, below: Array) -> Array:
    """Return above / below, NaN where below is not positive."""
    below = np.broadcast_to(below, above.shape)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _products(values: Array, length: Array) -> Array:
    """Return (P, F (F + 1) / 2): products of nats a byte of two scorers, times bytes, by probe.

    Args:
        values: (P, N, F) nats of one author's replies.
        length: (P, N) bytes.
    """
    first, second = np.triu_indices(values.shape[2])
    return np.einsum("pn,pnt,pnt->pt", _inverse(length), values[..., first], values[..., second])


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
