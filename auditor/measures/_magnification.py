"""How much a suspect's manner of sampling magnifies the differences of all scorers.

Text sampled at a low temperature is made of what its author found likeliest, about which models
differ more for each byte, also when scored at that temperature: independent suspects then scatter
several times as widely as the controls, and some would be accused. The controls show how much:
they differ about the suspect's replies, too, and have no link to it.
"""

import numpy as np

from auditor.measures._synthetic import Moments, ratio
from auditor.types import Array

_TINY = 1e-12  # nats a byte; smaller spreads are rounding


def magnification(sums: Moments, own: Array, sharpened: Array) -> Array:
    """Return (B, S), 1 or more: how much more controls differ about the suspect's replies.

    More than about the replies of the median control: from reply to reply and, for a suspect that
    samples at a lower temperature than the controls, in the mean of all replies. At the same
    temperature the latter shows another architecture or other data, which magnify nothing.

    Args:
        sums: of the replies.
        own: (A, K) bool, an author that is the scorer and does not count.
        sharpened: (B,) bool, the suspect samples at a lower temperature.
    """
    counting = np.concatenate([np.ones((1, own.shape[1]), dtype=bool), ~own])
    among_replies = _over_median(_rms(_reply_variances(sums), counting))
    in_the_mean = _over_median(_rms(_mean_deviations(sums, counting), counting))
    lowered = np.where(sharpened[:, None], in_the_mean, 1.0)
    return np.maximum(np.maximum(among_replies, lowered), 1.0)


def _reply_variances(sums: Moments) -> Array:
    """Return (B, S, 1 + A, K): variance over an author's replies of a control's residual."""
    mean_square = ratio(sums.total**2, sums.bytes[..., None])
    return ratio(sums.squares - mean_square, sums.replies[..., None] - 1)[..., 1:]


def _mean_deviations(sums: Moments, counting: Array) -> Array:
    """Return (B, S, 1 + A, K): squares of a control's mean residual for an author, less others'.

    The others are the controls of the pool, without the author and without the scorer itself.
    """
    means = sums.means[..., 1:]
    known = np.isfinite(means) & counting
    values = np.where(known, means, 0.0)
    others = known.copy()
    others[:, :, 0] = False
    total = np.where(others, values, 0.0)
    rest = ratio(
        total.sum(axis=2, keepdims=True) - total,
        others.sum(axis=2, keepdims=True) - others,
    )
    return np.where(known, (values - rest) ** 2, np.nan)


def _rms(squares: Array, counting: Array) -> Array:
    """Return (..., 1 + A): root mean square over the controls K, without the largest.

    That is the one of the model that the author started from, if it is in the pool. NaN where fewer
    than two are known.
    """
    known = np.isfinite(squares) & counting
    kept = np.where(known, np.maximum(squares, 0.0), 0.0)  # below 0: rounding
    return np.sqrt(ratio(kept.sum(axis=-1) - kept.max(axis=-1), known.sum(axis=-1) - 1))


def _over_median(spread: Array) -> Array:
    """Return (...): the suspect's spread over the median of the controls'; 1 where unknown."""
    own, usual = spread[..., 0], _median(spread[..., 1:])
    comparable = np.isfinite(own) & (usual > _TINY)
    return np.divide(own, usual, out=np.ones(own.shape), where=comparable)


def _median(values: Array) -> Array:
    """Return the median of the known values of the last axis, 0 where there is none."""
    ordered = np.sort(values, axis=-1)  # NaN comes last
    number = np.isfinite(values).sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum((number - 1) // 2, 0), axis=-1)
    high = np.take_along_axis(ordered, number // 2, axis=-1)
    return np.where(number > 0, (low + high) / 2, 0.0)[..., 0]
