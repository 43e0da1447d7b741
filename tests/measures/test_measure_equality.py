"""The tests for one and the same model: exact nulls, hand-worked statistics, what they see."""

import importlib
import itertools
import math

import numpy as np
import pytest
from measure_worlds import probes, small_pair
from scipy.stats import binom, kstest

from auditor.errors import UndefinedError
from auditor.kernels.swaps import hamming_h, swapped_sums
from auditor.measures import get
from auditor.measures._equality import LOWEST, RELABELLINGS, log10_p
from auditor.measures.equality_mmd import _symbols
from auditor.measures.equality_rank import _cumulated, _discrepancy
from auditor.panel import TEMPERATURES, Crossing

MMD, RANK = get("equality-mmd"), get("equality-rank")


def words(random, probes_of, repeats, letters="abcd"):
    """(P)(N) replies of 6 letters."""
    drawn = random.choice(list(letters), size=(probes_of, repeats, 6))
    return [["".join(reply) for reply in replies] for replies in drawn]


def text_pair(ours, theirs):
    return small_pair(texts=(ours, theirs), asked=probes(len(ours)))


def p_of(measure, pair):
    return 10.0 ** measure(pair)


def assert_close_to_exact(p, exact):
    """The relabellings are a sample: 4 standard deviations of it."""
    assert abs(p - exact) <= 4 * math.sqrt(exact * (1 - exact) / RELABELLINGS) + 1 / RELABELLINGS


def test_p_counts_the_observed_value_and_its_ties():
    # 2 of 4 reach it, up to rounding: (1 + 2)/(1 + 4)
    found = log10_p(0.3, np.array([0.1 + 0.2, 0.5, 0.2, 0.0]))
    assert found == pytest.approx(math.log10(3 / 5))
    assert log10_p(1.0, np.zeros(RELABELLINGS)) == LOWEST == -4.0


def test_one_reply_a_probe_has_the_p_of_all_its_swaps():
    pair = text_pair(words(np.random.RandomState(4), 8, 1), words(np.random.RandomState(5), 8, 1))
    h = hamming_h(*(side[:, 0] for side in _symbols(pair)))
    null = swapped_sums(h, np.array(list(itertools.product([-1, 1], repeat=8))))
    assert_close_to_exact(p_of(MMD, pair), float((null >= h.sum()).mean()))


def test_several_replies_a_probe_have_the_p_of_all_their_swaps():
    random = np.random.RandomState(6)
    pair = text_pair(words(random, 8, 2), words(random, 8, 2))
    x, y = _symbols(pair)
    # With two repeats a swap turns the sign of the probe's whole term: 2 H_12 or -2 H_12.
    terms = np.array([hamming_h(a, b).sum() for a, b in zip(x, y, strict=True)])
    null = np.array(list(itertools.product([-1, 1], repeat=8))) @ terms
    assert_close_to_exact(p_of(MMD, pair), float((null >= terms.sum()).mean()))


@pytest.fixture
def few_relabellings(monkeypatch):
    """Draw 399 relabellings: p is as exact, but coarser, and many tests are fast."""
    for name in ("equality_mmd", "equality_rank"):
        module = importlib.import_module(f"auditor.measures.{name}")
        monkeypatch.setattr(module, "RELABELLINGS", 399)


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_p_of_two_samples_of_one_model_is_no_smaller_than_it_says(few_relabellings, repeats):
    random = np.random.RandomState(7)
    found = [
        p_of(MMD, text_pair(words(random, 10, repeats), words(random, 10, repeats)))
        for _ in range(120)
    ]
    for level in (0.05, 0.2, 0.5):
        low, high = binom.ppf([0.001, 0.999], 120, level)
        assert low <= sum(p <= level for p in found) <= high


@pytest.mark.parametrize("repeats", [1, 3])
def test_equal_replies_have_p_one_and_another_style_is_seen(repeats):
    random = np.random.RandomState(8)
    ours = words(random, 30, repeats)
    assert MMD(text_pair(ours, ours)) == 0.0
    greeted = [["ok " + reply for reply in replies] for replies in words(random, 30, repeats)]
    assert MMD(text_pair(ours, greeted)) == LOWEST


def test_replies_drawn_with_the_same_random_numbers_show_a_small_change():
    random = np.random.RandomState(9)
    ours = words(random, 40, 4)
    changed = [[r.replace("ab", "aa") for r in replies] for replies in ours]
    assert MMD(text_pair(ours, changed)) < -2.0
    # The same change is lost in the noise of replies drawn anew.
    fresh = [[r.replace("ab", "aa") for r in replies] for replies in words(random, 40, 4)]
    assert MMD(text_pair(ours, fresh)) > -2.0


def test_length_counts_and_what_follows_the_first_100_characters_does_not():
    random = np.random.RandomState(10)
    ours = words(random, 20, 2)
    cut = [[reply[:4] for reply in replies] for replies in words(random, 20, 2)]
    assert MMD(text_pair(ours, cut)) == LOWEST
    spaced = [[reply + "  " for reply in replies] for replies in ours]
    assert MMD(text_pair(ours, spaced)) == LOWEST  # the end is a symbol, and no space
    long = [[reply + "x" * 94 for reply in replies] for replies in ours]
    longer = [[reply + " and more" for reply in replies] for replies in long]
    assert MMD(text_pair(long, longer)) == 0.0


@pytest.mark.parametrize("name", ["equality-mmd", "equality-rank"])
def test_seven_probes_are_too_few(name):
    random = np.random.RandomState(11)
    pair = small_pair(
        texts=(words(random, 7, 2), words(random, 7, 2)),
        asked=probes(7),
        crossing=crossing(random.normal(size=(7, 1)), random.normal(size=(7, 2))),
    )
    with pytest.raises(UndefinedError, match=r"7 probes have .*; the test needs at least 8"):
        get(name)(pair)


def crossing(theirs, ours):
    """Return a crossing of the scores (P, N) of the suspect's replies and of the reference's."""
    logprob = np.full((1, 2, *ours.shape, len(TEMPERATURES)), np.nan)
    logprob[0, 0, :, : theirs.shape[1], TEMPERATURES.index(1.0)] = theirs.T[: theirs.shape[1]].T
    logprob[0, 1, :, :, TEMPERATURES.index(1.0)] = ours
    return Crossing(
        scorers=("reference",),
        authors=("suspect", "reference"),
        logprob=logprob,
        bytes=np.ones((2, *ours.shape)),
    )


def rank_pair(theirs, ours):
    return small_pair(asked=probes(len(ours)), crossing=crossing(theirs, ours))


def test_ranks_are_cumulated_with_ties_spread_evenly():
    # Suspect 3 among 1 and 3: above one, tied with one, so in cells 1 and 2 with 1/2 each.
    # Reply 1 is lowest: cell 0. The second 3 is as the suspect.
    assert _cumulated(np.array([[3.0, 1.0, 3.0]]))[0].tolist() == [[0, 0.5], [1, 1], [0, 0.5]]


def test_the_discrepancy_of_two_lowest_ranks_by_hand():
    # m = 2: three cells of 2/3 each; cumulated 2, 2 against 2/3, 4/3: 16/9 + 4/9 = 20/9
    # over n (m + 1) = 6: 10/27
    assert _discrepancy(np.array([2.0, 2.0]), 2) == pytest.approx(10 / 27)


def test_one_other_reply_a_probe_has_the_p_of_a_sign_test():
    # The suspect is below on all 8 probes: 2 of 256 placements are as uneven.
    pair = rank_pair(np.zeros((8, 1)), np.ones((8, 1)))
    assert_close_to_exact(p_of(RANK, pair), 2 / 256)


def test_two_other_replies_a_probe_have_the_p_of_all_placements():
    random = np.random.RandomState(12)
    theirs, ours = random.randint(0, 4, size=(8, 1)), random.randint(2, 5, size=(8, 3))
    cells = _cumulated(np.concatenate([theirs, ours[:, 1:]], axis=1).astype(float))
    places = np.array(list(itertools.product(range(3), repeat=8)))
    sums = cells[np.arange(8), places].sum(axis=1)  # (6561, 2)
    null, observed = _discrepancy(sums, 8), _discrepancy(cells[:, 0].sum(axis=0), 8)
    exact = float((null >= observed - 1e-9).mean())
    assert 0.001 < exact < 0.5
    assert_close_to_exact(p_of(RANK, rank_pair(theirs, ours)), exact)


def test_the_rank_p_of_replies_of_one_model_is_uniform(few_relabellings):
    random = np.random.RandomState(13)
    found = []
    for _ in range(200):
        scores = random.normal(size=(25, 5)) + random.normal(size=(25, 1))
        found.append(p_of(RANK, rank_pair(scores[:, :1], scores)))  # the first drawn by both
    assert kstest(found, "uniform").pvalue > 0.01


def test_likelier_and_more_extreme_replies_are_seen():
    random = np.random.RandomState(14)
    ours, theirs = random.normal(size=(120, 5)), random.normal(size=(120, 1))
    assert RANK(rank_pair(theirs + 1.5, ours)) == LOWEST
    assert RANK(rank_pair(theirs * 6.0, ours)) < -3.0


def test_equal_scores_everywhere_say_nothing():
    assert RANK(rank_pair(np.zeros((20, 1)), np.zeros((20, 3)))) == 0.0


def test_probes_that_are_not_scored_whole_do_not_count():
    random = np.random.RandomState(15)
    theirs, ours = random.normal(size=(12, 1)), random.normal(size=(12, 3))
    whole = RANK(rank_pair(theirs, ours).take(range(10)))
    theirs[10], ours[11, 2] = np.nan, np.nan
    assert RANK(rank_pair(theirs, ours)) == whole


def test_a_reference_that_did_not_score_itself_is_a_reason():
    with pytest.raises(UndefinedError, match="did not score its own replies"):
        RANK(rank_pair(np.zeros((9, 1)), np.full((9, 2), np.nan)))
