"""The palimpsestic test: its p against random orders, and what may enter it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from measure_worlds import probes, small_pair
from scipy.stats import kstest, norm

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._run import apply
from auditor.panel import TRANSCRIPT, Control

PALIMPSEST = get("palimpsest")
N = 128


def rows(losses, *, length=10):
    """Transcript rows of texts of `length` bytes with these losses, in nats a byte."""
    found = np.zeros(len(losses), dtype=TRANSCRIPT)
    found["step"], found["text"] = 3 * np.arange(len(losses)), np.arange(len(losses))
    found["bytes"], found["logprob"] = length, -length * np.asarray(losses)
    return found


def control(name, losses, family=None):
    return Control(name=name, role="independent", family=family or name, transcript=rows(losses))


def pair_of(losses, pool=(), reference=None):
    ours = rows(losses if reference is None else reference)
    return small_pair(asked=probes(3), transcripts=(ours, rows(losses)), pool=tuple(pool))


def p_of(*arguments, **changes):
    return 10.0 ** PALIMPSEST(pair_of(*arguments, **changes))


def test_p_is_that_of_t_by_hand():
    # Losses fall but for neighbours swapped in pairs: d = 1 for each of 128 texts, against the
    # reversed order; rho = -(1 - 6 * 128 / (128 (128^2 - 1))) = -0.999634; t = rho sqrt(126 /
    # (1 - rho^2)) = -414.6; with 126 degrees of freedom p is far below 1e-200.
    losses = np.arange(N)[::-1].reshape(-1, 2)[:, ::-1].ravel().astype(float)
    rho = -(1 - 6 * N / (N * (N**2 - 1)))
    t = rho * math.sqrt((N - 2) / (1 - rho**2))
    from scipy.stats import t as student

    assert PALIMPSEST(pair_of(losses)) == pytest.approx(
        float(student.logcdf(t, N - 2)) / math.log(10), rel=1e-6
    )


def test_p_agrees_with_random_orders():
    random = np.random.RandomState(1)
    losses = random.normal(size=64) - 0.02 * np.arange(64)
    order = np.arange(64) - 31.5
    ranks = np.argsort(np.argsort(losses)) - 31.5
    null = np.array([order @ random.permutation(ranks) for _ in range(20_000)])
    share = float((null <= order @ ranks).mean())
    assert 0.01 < share < 0.2
    assert p_of(losses) == pytest.approx(share, abs=4 * math.sqrt(share / 20_000))


def test_p_is_uniform_whatever_the_texts_and_the_controls():
    random = np.random.RandomState(2)
    difficulty = random.standard_cauchy(size=N)  # no nice distribution is assumed
    suspect = difficulty + random.normal(size=N)
    others = [difficulty + random.normal(size=N) for _ in range(3)]
    found = []
    for _ in range(300):
        shuffled = random.permutation(N)
        pool = [control(f"c{i}", one[shuffled]) for i, one in enumerate(others)]
        found.append(p_of(suspect[shuffled], pool))
    assert kstest(found, "uniform").pvalue > 0.01
    assert kstest(found, norm.cdf).pvalue < 0.01  # the check itself can fail


def test_controls_take_out_what_makes_texts_hard():
    random = np.random.RandomState(3)
    difficulty = 5.0 * random.normal(size=N)
    suspect = difficulty + random.normal(size=N) - 0.02 * np.arange(N)
    pool = [control(f"c{i}", difficulty + random.normal(size=N)) for i in range(6)]
    assert p_of(suspect) > 0.01
    assert p_of(suspect, pool) < 1e-6


def test_only_lower_loss_on_later_texts_counts():
    trend = 0.05 * np.arange(N) + np.random.RandomState(4).normal(size=N)
    assert p_of(trend) > 0.999
    assert p_of(-trend) < 0.001


def test_the_loss_of_the_reference_itself_does_not_enter():
    random = np.random.RandomState(5)
    inherited = random.normal(size=N) - 0.02 * np.arange(N)
    # Taking out the reference's own loss, which falls the same way, would hide the copy.
    assert p_of(inherited, reference=inherited) == p_of(inherited) < 0.001


def test_models_of_one_family_count_as_one():
    random = np.random.RandomState(6)
    losses, one, other = random.normal(size=(3, N))
    once = [control("a", one), control("b", other)]
    thrice = [control("a", one), *(control(f"b{i}", other, "b") for i in range(3))]
    assert p_of(losses, thrice) == pytest.approx(p_of(losses, once), rel=1e-9)


def test_texts_that_somebody_could_not_score_are_left_out():
    losses = np.random.RandomState(7).normal(size=N)
    pair, whole = pair_of(losses), pair_of(losses[:100])
    ours, theirs = pair.transcripts
    theirs = theirs.copy()
    theirs["bytes"][100:] = 0
    assert PALIMPSEST(replace(pair, transcripts=(ours, theirs))) == PALIMPSEST(whole)


def test_a_control_with_other_texts_is_no_control_here():
    random = np.random.RandomState(8)
    losses = random.normal(size=N)
    foreign = control("a", random.normal(size=50))
    assert p_of(losses, [foreign]) == p_of(losses)
    found = apply(PALIMPSEST, pair_of(losses, [control("c", losses[::-1])]), seed=0)
    assert "arrays/transcript/c.npy" in found.inputs


def test_undefined_with_the_reason():
    losses = np.random.RandomState(9).normal(size=N)
    with pytest.raises(UndefinedError, match=r"63 texts .* at least 64"):
        PALIMPSEST(pair_of(losses[:63]))
    with pytest.raises(UndefinedError, match="nothing to correlate"):
        PALIMPSEST(pair_of(np.ones(N)))
    with pytest.raises(UndefinedError, match="nothing to correlate"):
        PALIMPSEST(pair_of(losses, [control("twin", 2.0 * losses)]))
    pair = pair_of(losses)
    shifted = pair.transcripts[1].copy()
    shifted["text"] += 1
    with pytest.raises(UndefinedError, match="different texts"):
        PALIMPSEST(replace(pair, transcripts=(pair.transcripts[0], shifted)))
