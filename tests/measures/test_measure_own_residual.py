from dataclasses import replace

import numpy as np
import pytest
from measure_worlds import probes, small_pair

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.panel import TEMPERATURES, Control, Crossing

OWN = get("own-residual-correlation")
FAMILIES = ("a", "b", "c", "d")
LENGTHS = np.array([[10.0], [20.0], [10.0], [40.0], [10.0], [30.0], [10.0], [10.0], [20.0]])
EXTRA = np.array([0.1, -0.3, 0.4, 0.0, 0.7, -0.2, 0.5, -0.6, 0.2])
"""Of the reference over the controls, nats a byte."""
LEVEL = np.array([-1.0, -2.0, -1.5, -0.5, -3.0, -1.0, -2.5, -1.2, -0.8])
"""Of every control."""


def pair_with(own: np.ndarray, extra: np.ndarray = EXTRA, texts: list[str] | None = None):
    """Return a pair whose suspect has `own` nats a byte over controls that all agree."""
    count, scorers = len(LENGTHS), ("reference", *FAMILIES)
    authors = ("suspect", *scorers)
    logprob = np.full((5, 6, count, 1, len(TEMPERATURES)), np.nan)
    per_byte = np.stack([LEVEL + extra, *[LEVEL] * 4])
    # At other temperatures something else: they must not be used.
    logprob[:, 0] = 7.0 * per_byte[:, :, None, None]
    logprob[:, 0, :, :, TEMPERATURES.index(1.0)] = (per_byte * LENGTHS[:, 0])[:, :, None]
    lengths = np.zeros((6, count, 1))
    lengths[0] = LENGTHS
    said = texts or [f"reply {i}" for i in range(count)]
    pool = tuple(Control(name=name, role="independent", family=name) for name in FAMILIES)
    return small_pair(
        texts=([[text] for text in said], [[text] for text in said]),
        asked=probes(count),
        pool=pool,
        crossing=Crossing(scorers=scorers, authors=authors, logprob=logprob, bytes=lengths),
        own=(LEVEL + own)[:, None] * LENGTHS,
    )


def weighted(x: np.ndarray, y: np.ndarray, kept=slice(None)) -> float:
    """Pearson's correlation with bytes as weights, by numpy."""
    table = np.cov(x[kept], y[kept], aweights=LENGTHS[kept, 0])
    return table[0, 1] / np.sqrt(table[0, 0] * table[1, 1])


def test_replies_weigh_as_their_bytes():
    own = np.array([0.9, 0.2, 0.3, 1.0, 0.4, 0.8, 0.1, 0.6, 0.5])
    assert OWN(pair_with(own)) == pytest.approx(weighted(EXTRA, own), abs=1e-12)


def test_the_level_and_the_scale_do_not_matter():
    assert OWN(pair_with(3.0 + 2.0 * EXTRA)) == pytest.approx(1.0)
    assert OWN(pair_with(1.0 - 0.5 * EXTRA)) == pytest.approx(-1.0)


def test_a_reply_of_which_the_own_probability_is_not_known_is_left_out():
    own = np.array([0.9, np.nan, 0.3, 1.0, 0.4, 0.8, 0.1, 0.6, 0.5])
    kept = np.isfinite(own)
    assert OWN(pair_with(own)) == pytest.approx(weighted(EXTRA, own, kept), abs=1e-12)


def test_a_canned_reply_does_not_count():
    own = np.array([0.9, 0.2, 0.3, 1.0, 0.4, 0.8, 0.1, 0.6, 0.5])
    texts = [f"reply {i}" for i in range(len(own))]
    # Two of nine say the same: 7 are left.
    texts[0] = texts[1] = "no"
    with pytest.raises(UndefinedError, match=r"7 replies of suspect .* 8 are needed"):
        OWN(pair_with(own, texts=texts))


def test_controls_that_disagree_are_divided():
    # Controls a, b at +1 and c, d at -1 on every second reply: the half of the reference then
    # moves its residual by +-1, the other half the suspect's the other way. By hand for each of
    # the 6 divisions, the mean of their correlations.
    own = np.array([0.9, 0.2, 0.3, 1.0, 0.4, 0.8, 0.1, 0.6, 0.5])
    pair = pair_with(own)
    shift = np.where(np.arange(len(own)) % 2, 1.0, 0.0)
    logprob = pair.crossing.logprob.copy()
    unit = TEMPERATURES.index(1.0)
    for scorer, sign in ((1, 1.0), (2, 1.0), (3, -1.0), (4, -1.0)):
        logprob[scorer, 0, :, 0, unit] += sign * shift * LENGTHS[:, 0]
    moved = replace(pair, crossing=replace(pair.crossing, logprob=logprob))
    # First half ab: mean +1, the other -1; cd: the reverse; four mixed ones: 0 and 0.
    split = [weighted(EXTRA - sign * shift, own + sign * shift) for sign in (1.0, -1.0)]
    expected = (sum(split) + 4 * weighted(EXTRA, own)) / 6
    assert OWN(moved) == pytest.approx(expected, abs=1e-12)


def test_three_families_are_too_few():
    pair = pair_with(EXTRA)
    pool = tuple(replace(control, family=control.family.replace("d", "c")) for control in pair.pool)
    with pytest.raises(UndefinedError, match="3 families; two halves need 4"):
        OWN(replace(pair, pool=pool))


def test_no_control_that_scores_is_too_few():
    pair = pair_with(EXTRA)
    alone = replace(pair.crossing, scorers=("reference",), logprob=pair.crossing.logprob[:1])
    with pytest.raises(UndefinedError, match="0 families; two halves need 4"):
        OWN(replace(pair, crossing=alone))


def test_residuals_that_do_not_vary_are_undefined():
    with pytest.raises(UndefinedError, match="never departs"):
        OWN(pair_with(np.full(9, 0.25), extra=EXTRA))
