"""Hand-worked values of the text measures."""

import numpy as np
import pytest
from measure_worlds import small_pair

from auditor.measures import get
from auditor.measures._run import apply


def scores(name, ours, theirs):
    return get(name)(small_pair(texts=(ours, theirs)))


def test_chrf_of_one_common_letter():
    # "ab" and "ac": 1-grams 1 of 2 match, 2-grams 0 of 1; precision = recall = F = (1/2 + 0)/2.
    assert scores("text-chrf", [["ab"]], [["ac"]]) == pytest.approx([0.25])


def test_chrf_weighs_recall_of_the_reference_four_times():
    # Suspect "a", reference "ab": only 1-grams exist in both; P = 1, R = 1/2,
    # F = 5 P R / (4 P + R) = 2.5/4.5 = 5/9. Swapped: P = 1/2, R = 1, F = 2.5/3 = 5/6.
    found = scores("text-chrf", [["ab"], ["a"]], [["a"], ["ab"]])
    assert found == pytest.approx([5 / 9, 5 / 6])


def test_chrf_of_an_empty_reply_is_0_and_of_two_says_nothing():
    found = scores("text-chrf", [["yes"], [" "], ["yes"]], [[""], [""], ["yes"]])
    assert list(found[[0, 2]]) == [0.0, 1.0]
    assert np.isnan(found[1])


def test_chrf_compares_matching_repeats_and_drops_the_extra_one():
    # Repeats: 1 and 0; the third of the reference has no partner.
    assert scores("text-chrf", [["yes", "no", "x"]], [["yes", "up"]]) == pytest.approx([0.5])


def test_ngram_overlap_by_hand():
    # "a b c d": abc bcd. "a b c e f": abc bce cef. 2 * 1 / (2 + 3)
    assert scores("text-ngram-overlap", [["a b c d"]], [["A b, c e f."]]) == pytest.approx([0.4])


def test_ngram_overlap_counts_repeated_ngrams_as_often_as_both_have_them():
    # "a a a a a": aaa three times; "a a a a": twice. 2 * 2 / (3 + 2)
    assert scores("text-ngram-overlap", [["a a a a a"]], [["a a a a"]]) == pytest.approx([0.8])


def test_ngram_overlap_of_short_replies_says_nothing_and_of_one_short_is_0():
    found = scores("text-ngram-overlap", [["Paris is"], ["Paris"]], [["Paris is"], ["It is Paris"]])
    assert np.isnan(found[0])
    assert found[1] == 0.0


def test_scripts_without_spaces_count_characters_as_words():
    # 今日は晴 and 今日は雨: 今日は, 日は晴 against 今日は, 日は雨: 2 * 1 / 4
    assert scores("text-ngram-overlap", [["今日は晴"]], [["今日は雨"]]) == pytest.approx([0.5])


def test_scripts_with_spaces_count_words():
    # Korean, Cyrillic and accents: 3 words, one 3-gram each
    texts = [["오늘 날씨 좋다"], ["это был день"], ["c'était l'été"]]
    assert list(scores("text-ngram-overlap", texts, texts)) == [1.0, 1.0, 1.0]


def test_texts_without_ngrams_leave_the_measure_undefined():
    pair = small_pair(texts=([["Yes."], ["No."]], [["Yes."], ["No."]]))
    found = apply(get("text-ngram-overlap"), pair, seed=0)
    assert found.value is None
    assert found.undefined == "it applies to none of the 2 probes"
