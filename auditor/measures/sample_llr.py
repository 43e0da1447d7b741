"""Whether a suspect's own words are the reference's rather than those of any similar model."""

from dataclasses import dataclass

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._crossing import FEWEST, STRATA, Residuals, residuals
from auditor.measures._magnification import magnification
from auditor.measures._registry import measure
from auditor.measures._synthetic import fitted_weights, moments, unexplained
from auditor.measures._tempering import relative_temperatures, sharpened
from auditor.outputs import Pair
from auditor.types import Array

ANSWERED = 0.5
"""Least share of a stratum's probes that the suspect must have answered for it to count."""
_TINY = 1e-12  # nats a byte; smaller spreads are rounding


def subset_ratios(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the ratio on each of B subsets of the probes, (B, P) bool; NaN: undefined."""
    return _ratios(residuals(pair), chosen)


@measure(
    "sample-llr",
    version=1,
    group="idiosyncrasy",
    unit="nats/byte",
    bounds=(-np.inf, np.inf),
    identical=None,
    closer="higher",
    symmetric=False,
    needs=("crossing", "pool"),
    reduce="pooled",
    subsets=subset_ratios,
    # The weights of the synthetic control are iterated to a step of 1e-12.
    tolerance=(1e-7, 1e-9),
)
def sample_llr(pair: Pair) -> float:
    """Log-likelihood ratio of the suspect's own replies: the reference against a synthetic control.

    Formula: d(x) = [log p_reference(x) - sum_c w_c log p_c(x)] / bytes of x, x a reply of the
    suspect. The weights w, at least 0 and with sum 1, are fitted so that sum_c w_c log p_c
    predicts log p_reference on the replies of the pool's own controls, never the suspect's. In
    each stratum s (natural text, out-of-distribution text) the mean over bytes, less the mean
    of the pool's own authors on the probes that the suspect answered: g_s. The value is sum_s v_s
    g_s / m_s, v_s proportional to 1 / (standard deviation of the pool's own authors) with sum 1:
    each stratum in units of its spread, the result in nats a byte. A stratum of which the suspect
    answered less than half is left out, and the rest kept on the scale of both. m_s >= 1 is how
    much more the controls differ about the suspect's replies than about each other's: text
    sampled at a low temperature magnifies all differences. The suspect's replies are scored at
    the plan's temperature, or, where they are steeper or flatter in temperature than those of
    every control, at the nearest at which they are not: interpolated in 1 / temperature within
    [0.4, 1.2].

    Range: any number; independent models scatter around 0. Not symmetric.
    Degenerate: undefined with fewer than 3 controls that score, fewer than 3 whose replies were
    scored, or no scored reply of the suspect. A control does not score its own replies; a value
    that it lacks is replaced by the mean of the others; a reply with fewer than 2 values of
    controls, without one of the reference or without bytes is left out, and so is one that its
    author gave word for word to several probes (canned refusals).
    Interval: from halves of the probes, all of it fitted again. It says nothing about other
    models, whose spread is the floor: more samples do not help below about 15 % dose, more and
    closer controls do.

    Pitfalls: the pool decides. Controls of other data than the reference's make the ratio measure
    that difference, and hide students that were partly trained on other data. Controls that all
    have another architecture than the suspect lift independent suspects (z +3.5): at least two of
    its architecture and size are needed, or the reading is capped. With the suspect's base as the
    only control every fine-tune of it looks linked, whatever it was tuned on: what counts is the
    same base tuned on other text. Needs no token of the suspect's vocabulary, only its texts.
    """
    found = residuals(pair)
    value = float(_ratios(found, np.ones((1, len(found.stratum)), dtype=bool))[0])
    if np.isnan(value):
        raise UndefinedError(
            f"the suspect answered less than half of the natural and of the out-of-distribution "
            f"probes in words of its own, or {FEWEST} controls did not"
        )
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryRatio:
    """The ratio on the probes of one category, in nats a byte."""

    value: float
    pool: tuple[float, ...]
    """The same of the replies of each control of the pool, against the others."""
    probes: int


def sample_llr_by_category(pair: Pair) -> dict[str, CategoryRatio]:
    """Return the ratio on each probe category, by name: where a link shows.

    Temperature and weights are those of all probes together; strata are not told apart inside a
    category. A category without scored replies of the suspect or of `FEWEST` controls is left out.
    Each control of the pool, measured as a suspect, gives the null of its category.

    Raises:
        UndefinedError: as `sample_llr`.
    """
    found = residuals(pair)
    everything = np.ones((1, len(found.stratum)), dtype=bool)
    candidate = relative_temperatures(found, everything & found.answered)
    weights = fitted_weights(moments(found, everything, candidate))
    names = sorted({probe.category for probe in pair.probes})
    chosen = np.array([[probe.category == name for probe in pair.probes] for name in names])
    chosen &= found.answered
    candidates = np.repeat(candidate, len(names))
    sums = moments(found, chosen, candidates).joined
    left = unexplained(sums.means, np.repeat(weights, len(names), axis=0))[:, 0]
    gains = _gains(left, magnification(sums, found.own, sharpened(candidates))[:, 0])
    return {
        name: CategoryRatio(
            value=float(gain), pool=_against_others(row[1:]), probes=int(taken.sum())
        )
        for name, gain, row, taken in zip(names, gains, left, chosen, strict=True)
        if np.isfinite(gain)
    }


def _against_others(pool: Array) -> tuple[float, ...]:
    """Return each known value less the mean of the other known ones."""
    known = pool[np.isfinite(pool)]
    return tuple(((known - known.mean()) * len(known) / (len(known) - 1)).tolist())


def _ratios(found: Residuals, chosen: Array) -> Array:
    heard = chosen & found.answered
    candidates = relative_temperatures(found, heard)
    whole = moments(found, chosen, candidates)
    weights = fitted_weights(whole)
    sums = whole if bool((heard == chosen).all()) else moments(found, heard, candidates)
    left = unexplained(sums.means, weights)  # (B, S, 1 + A)
    gains = _gains(left, magnification(sums, found.own, sharpened(candidates)))
    standard = gains * _precision(left)
    standard[_mostly_unanswered(found, chosen)] = np.nan
    usable = np.isfinite(standard)
    total = np.where(usable, standard, 0.0).sum(axis=-1)
    # In nats a byte of all strata, so that a suspect without one of them is on the same scale.
    precision = np.nan_to_num(_precision(unexplained(whole.means, weights)))
    strata, count = (precision > 0).sum(axis=-1), usable.sum(axis=-1)
    scale = np.sqrt(strata * count) * precision.sum(axis=-1)
    return np.divide(strata * total, scale, out=np.full(len(total), np.nan), where=scale > 0)


def _precision(left: Array) -> Array:
    """Return (...): 1 / standard deviation of the pool's own; NaN where nothing is known.

    Args:
        left: (..., 1 + A) unexplained log-likelihood, suspect first.
    """
    pool = left[..., 1:]
    known = np.isfinite(pool)
    deviation = np.sqrt(_mean((pool - _mean(pool)[..., None]) ** 2))
    enough = known.sum(axis=-1) >= FEWEST
    return np.where(enough, 1.0 / np.maximum(deviation, _TINY), np.nan)


def _mostly_unanswered(found: Residuals, chosen: Array) -> Array:
    """Return (B, S) bool: the suspect answered less than half of the stratum's chosen probes."""
    inside = np.eye(len(STRATA))[found.stratum]  # (P, S)
    asked, answered = chosen @ inside, (chosen & found.answered) @ inside
    mostly: Array = answered < ANSWERED * asked
    return mostly


def _gains(left: Array, magnified: Array) -> Array:
    """Return (...): what the suspect's replies have over the pool's own; NaN: undefined.

    Args:
        left: (..., 1 + A) unexplained log-likelihood, suspect first.
        magnified: (...) 1 or more.
    """
    suspect, pool = left[..., 0], left[..., 1:]
    usable = np.isfinite(suspect) & (np.isfinite(pool).sum(axis=-1) >= FEWEST)
    return np.where(usable, (suspect - _mean(pool)) / magnified, np.nan)


def _mean(values: Array) -> Array:
    """Return the mean of the known values of the last axis, 0 where there is none."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
