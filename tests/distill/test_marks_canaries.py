"""Canary sets and the exact test of their ranks: closed forms, calibration, power."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from auditor.distill.canaries import (
    WORDS,
    canary_documents,
    canary_sets,
    canary_test,
    require_reach,
)
from auditor.errors import InputError, UndefinedError
from auditor.kernels.exact_ranks import marked_rank, rank_p, rank_sum_p, smallest_p
from auditor.models.specifier import open_model
from auditor.models.tiny import tiny_models


def key(number):
    return number.to_bytes(32, "big")


def closed_form(total, sets, size):
    """P(sum of ranks <= total), by inclusion and exclusion; ranks from 0 on: total - sets."""
    most = total - sets
    ways = sum(
        (-1) ** k * math.comb(sets, k) * math.comb(most - k * size + sets, sets)
        for k in range(sets + 1)
        if most >= k * size
    )
    return float(Fraction(ways, size**sets))


def test_rank_counts_siblings_as_likely_too():
    assert marked_rank(2.0, np.array([1.0, 2.0, 3.0, 2.0])) == 4
    assert marked_rank(0.5, np.array([1.0, 2.0])) == 1
    assert rank_p(4, 5) == 0.8


@pytest.mark.parametrize("sizes", [(4,), (3, 3), (2, 5, 3), (6, 6, 6)])
def test_rank_sum_agrees_with_counting_all_outcomes(sizes):
    sums = [sum(ranks) for ranks in itertools.product(*(range(1, n + 1) for n in sizes))]
    for ranks in itertools.product(*(range(1, n + 1) for n in sizes)):
        expected = sum(total <= sum(ranks) for total in sums) / len(sums)
        assert rank_sum_p(ranks, sizes) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("rank", [1, 30, 400, 600, 1000])
def test_rank_sum_of_twenty_sets_agrees_with_inclusion_and_exclusion(rank):
    expected = closed_form(20 * rank, 20, 1000)
    assert rank_sum_p([rank] * 20, [1000] * 20) == expected


def test_smallest_p_is_that_of_first_ranks():
    assert smallest_p([10, 20]) == rank_sum_p([1, 1], [10, 20]) == 0.005


def test_p_below_what_a_float_holds_is_not_zero():
    # 1000^-200 = 1e-600
    assert rank_sum_p([1] * 200, [1000] * 200) == smallest_p([1000] * 200) == 1e-300


@pytest.mark.parametrize(
    ("ranks", "sizes", "problem"),
    [([], [], "one rank a set"), ([1], [2, 2], "one rank a set"), ([0], [3], "no rank 0"),
     ([4], [3], "no rank 4")],
)  # fmt: skip
def test_rank_sum_refuses(ranks, sizes, problem):
    with pytest.raises(InputError, match=problem):
        rank_sum_p(ranks, sizes)


def test_rank_refuses_what_it_cannot_order():
    with pytest.raises(InputError, match="at least one"):
        marked_rank(1.0, np.array([]))
    with pytest.raises(UndefinedError):
        marked_rank(math.nan, np.array([1.0]))
    with pytest.raises(UndefinedError):
        marked_rank(1.0, np.array([math.inf, 1.0]))


@pytest.mark.parametrize("form", ["words", "digits"])
def test_members_of_a_set_are_different_and_equally_long(form):
    for one in canary_sets(key(1), 3, siblings=49, form=form):
        assert len(set(one.sequences)) == 50
        assert len({len(text.encode()) for text in one.sequences}) == 1
        assert sorted((one.inserted, *one.siblings)) == sorted(one.sequences)


def test_words_of_the_list_are_different_and_of_five_letters():
    assert len(set(WORDS)) == 64
    assert {len(word) for word in WORDS} == {5}


def test_sets_depend_on_the_key_and_not_on_their_number():
    few, many = canary_sets(key(1), 2, siblings=9), canary_sets(key(1), 5, siblings=9)
    assert many[:2] == few
    parts = [text.split(": ")[1] for one in many for text in one.sequences]
    assert len(set(parts)) == 50  # no two sets share a random part
    assert canary_sets(key(2), 1, siblings=9)[0].sequences != few[0].sequences


def test_every_place_is_chosen_equally_often():
    chosen = Counter(one.chosen for one in canary_sets(key(3), 1000, siblings=4))
    assert chisquare([chosen[i] for i in range(5)]).pvalue > 0.001


def test_documents_repeat_the_inserted_texts_only():
    sets = canary_sets(key(1), 3, siblings=9)
    assert Counter(canary_documents(sets, 4)) == {one.inserted: 4 for one in sets}
    with pytest.raises(InputError, match="0 times"):
        canary_documents(sets, 0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"form": "verses"}, "no form 'verses'"),
        ({"siblings": 0}, "at least 1 of each"),
        ({"siblings": 60, "form": "digits", "length": 2}, "too few different"),
    ],
)
def test_sets_refuse(change, problem):
    with pytest.raises(InputError, match=problem):
        canary_sets(key(1), 1, **{"siblings": 9, **change})


def test_short_key_is_refused():
    with pytest.raises(InputError, match="32 bytes"):
        canary_sets(b"short", 1, siblings=9)


def test_too_few_siblings_name_the_floor():
    require_reach(1, 999, 0.001)  # 1/1000 is just reached
    require_reach(2, 9, 0.01)
    with pytest.raises(InputError, match=r"no p-value below 0\.05: the level 0\.01"):
        require_reach(1, 19, 0.01)


def test_losses_of_another_shape_are_refused():
    sets = canary_sets(key(1), 2, siblings=3)
    for losses in ([np.zeros(4)], [np.zeros(4), np.zeros(3)]):
        with pytest.raises(InputError, match="one loss for each"):
            canary_test(sets, losses)


def test_test_reads_the_chosen_place():
    sets = canary_sets(key(1), 2, siblings=3)
    losses = [np.array([5.0, 6.0, 7.0, 8.0]) for _ in sets]
    found = canary_test(sets, losses)
    assert found.ranks == tuple(one.chosen + 1 for one in sets)
    assert found.p_value == rank_sum_p(found.ranks, (4, 4))


def letter_losses(sets):
    """A fixed rule in the place of a model; no key entered it."""
    return [
        np.array([sum(math.sin(i * ord(c)) for i, c in enumerate(text)) for text in one.sequences])
        for one in sets
    ]


def test_p_is_uniform_for_what_no_key_entered():
    # The p of a sum is discrete: with V uniform, P(W' < W) + V P(W' = W) is uniform exactly.
    random = np.random.RandomState(0)
    found = []
    for number in range(300):
        sets = canary_sets(key(number), 3, siblings=4)
        test = canary_test(sets, letter_losses(sets))
        total = sum(test.ranks)
        below = closed_form(total - 1, 3, 5) if total > 3 else 0.0
        found.append(below + random.uniform() * (test.p_value - below))
    assert kstest(found, "uniform").pvalue > 0.01


def test_ties_make_p_larger_never_smaller():
    found = []
    for number in range(400):
        (one,) = canary_sets(key(number), 1, siblings=9)
        found.append(canary_test([one], [np.round(letter_losses([one])[0] / 3)]).p_value)
    shares = [np.mean(np.array(found) <= rank / 10) for rank in range(1, 10)]
    # 3 standard deviations above the level at most; far below it for the smallest
    assert all(
        s <= r / 10 + 3 * math.sqrt(r * (10 - r) / 40000) for r, s in enumerate(shares, start=1)
    )
    assert shares[0] < 0.09


def pair_counts(texts):
    return Counter(pair for text in texts for pair in itertools.pairwise(text.split()))


def bigram_losses(sets, repetitions, background):
    """Losses of a student that counts pairs of words, add-one smoothing over 100 words."""
    counts = background + pair_counts([one.inserted for one in sets] * repetitions)
    firsts: Counter[str] = Counter()
    for (first, _), count in counts.items():
        firsts[first] += count

    def loss(text):
        pairs = list(itertools.pairwise(text.split()))
        return -sum(math.log((1 + counts[a, b]) / (100 + firsts[a])) for a, b in pairs)

    return [np.array([loss(text) for text in one.sequences]) for one in sets]


def test_power_rises_with_the_repetitions():
    # 4000 other texts give each of the 64 * 64 pairs about 7 counts, so that one repetition moves
    # a loss by about one standard deviation of its siblings and four by three.
    others = canary_sets(key(10_000), 1, siblings=3999)[0].sequences
    background = pair_counts(others)
    mean_log10 = []
    for repetitions in (0, 1, 4):
        drawn = [canary_sets(key(number), 3, siblings=19) for number in range(20)]
        tests = [canary_test(sets, bigram_losses(sets, repetitions, background)) for sets in drawn]
        mean_log10.append(np.mean([math.log10(test.p_value) for test in tests]))
    assert mean_log10[0] > -0.43 - 3 * 0.43 / math.sqrt(20)  # uniform p: mean and sd log10(e)
    assert mean_log10[1] < mean_log10[0] - 0.5
    assert mean_log10[2] < mean_log10[1] - 0.5
    assert mean_log10[2] < -3.0  # (1/20)^3 = 1.25e-4 is the least


def test_p_is_uniform_for_shipped_models_that_saw_no_canary():
    # Every test has a key of its own: models are alike, and would agree on the same sequences.
    names = list(tiny_models())
    assert len(names) >= 20
    keys = -(-200 // len(names))
    ranks = []
    for number, name in enumerate(names):
        model = open_model(f"tiny:{name}")
        sets = [
            canary_sets(key(1000 * number + i), 1, siblings=9, length=4)[0] for i in range(keys)
        ]
        texts = [text for one in sets for text in one.sequences]
        losses = np.array([-score.logprobs.sum() for score in model.score(texts)])
        ranks += canary_test(sets, losses.reshape(keys, 10)).ranks
    assert len(ranks) >= 200
    counts = Counter(ranks)
    assert chisquare([counts[rank] for rank in range(1, 11)]).pvalue > 0.01
