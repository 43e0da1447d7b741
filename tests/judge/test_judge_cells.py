"""Questions of a watch: near ties that coarser copies move and honest deployments do not."""

import math

import numpy as np
import pytest

from auditor.judge.cells import (
    Group,
    best_in_turn,
    cells_of,
    headroom,
    honest_noise,
    kind,
    names_of,
    scores,
    table,
)


def test_likely_answers_of_any_pass_or_copy_are_named():
    group = Group(
        passes=[{"a": 0.6, "b": 0.39, "c": 0.01}], draws=[None], copies=[{"a": 0.1, "d": 0.9}]
    )
    assert names_of([group]) == ["d", "a", "b"]
    assert table(group.passes, ["d", "a", "b"]) == pytest.approx(np.array([[0.0, 0.6, 0.39, 0.01]]))


def test_a_copy_stands_for_its_change_and_for_the_opposite():
    # odds 1 -> 4 in the copy, so 1 -> 1/4 in the opposite change; "any other" is 0 in all
    group = Group(passes=[{"a": 0.5, "b": 0.5}], draws=[None], copies=[{"a": 0.8, "b": 0.2}])
    (cell,) = cells_of([group], ["a", "b"], 0.0)
    assert cell.changed[0] == pytest.approx([0.8, 0.2, 0.0])
    assert cell.changed[1] == pytest.approx([0.2, 0.8, 0.0], abs=2e-4)
    assert cell.weights == pytest.approx([0.7, 0.3])
    assert cell.limits == pytest.approx([0.52, 0.52, 0.02])


def test_noise_is_the_difference_of_log_odds_where_they_tell():
    one, other = {"a": 0.5, "b": 0.5}, {"a": 0.6, "b": 0.4}
    assert honest_noise([(one, other)]) == pytest.approx(math.log(1.5))
    # a probability of nearly 0 or 1 tells nothing; neither does an answer that one pass lacks
    assert honest_noise([({"a": 0.999, "b": 0.001}, {"a": 0.995, "b": 0.005})]) == 0.0
    assert honest_noise([({"a": 0.5}, {"b": 0.5})]) == 0.0


def test_noise_leaves_out_one_of_a_hundred_differences():
    # differences of 0.01, 0.02, ... 1.00 nats, each of both answers: of 200 values the one at
    # 0.99 x 199 = 197.01, between the second 0.99 and the first 1.00
    even = {"a": 0.5, "b": 0.5}
    shares = [1.0 / (1.0 + math.exp(-0.01 * k)) for k in range(1, 101)]
    pairs = [(even, {"a": share, "b": 1.0 - share}) for share in shares]
    assert honest_noise(pairs) == pytest.approx(0.9901)


def test_copies_of_any_group_are_bet_on_in_all():
    bare = Group(passes=[{"a": 0.5, "b": 0.5}], draws=[None])
    other = Group(passes=[{"a": 0.5, "b": 0.5}], draws=[None], copies=[{"a": 0.8, "b": 0.2}])
    cells = cells_of([bare, other], ["a", "b"], 0.0)
    for cell in cells:
        assert cell.changed[0] == pytest.approx([0.8, 0.2, 0.0])
        assert cell.weights == pytest.approx([0.7, 0.3])


def test_a_question_that_a_copy_answers_otherwise_scores_most():
    def group(copied: float) -> Group:
        copy = {"a": copied, "b": 1.0 - copied}
        return Group(passes=[{"a": 0.96, "b": 0.04}], draws=[None], copies=[copy])

    (far, _), (near, _) = (scores([group(copied)], ["a", "b"], 0.5) for copied in (0.1, 0.95))
    assert far > 0.5
    assert near < 0.01
    # where honest deployments differ as much, nothing is gained
    assert scores([group(0.1)], ["a", "b"], 6.0)[0] < 0.01


def test_a_question_shows_a_change_or_its_opposite():
    # a sure answer can only become rarer, so a copy in which it is surer is not seen by it
    surer = Group(
        passes=[{"a": 0.99, "b": 0.01}], draws=[None], copies=[{"a": 0.9999, "b": 0.0001}]
    )
    same, opposite = scores([surer], ["a", "b"], 0.1)
    assert same < 0.01
    assert opposite > 0.5


def test_a_change_that_looks_like_another_group_scores_nothing():
    copy = {"a": 0.1, "b": 0.9}
    one = Group(passes=[{"a": 0.96, "b": 0.04}], draws=[None], copies=[copy])
    other = Group(passes=[copy], draws=[None])
    found = scores([one, other], ["a", "b"], 0.5)
    assert found[0] < 0.01
    assert len(found) == 2
    cells = cells_of([one, other], ["a", "b"], 0.5)
    assert cells[1].changed.tolist() == cells[0].changed.tolist()


def test_without_copies_near_ties_that_hold_still_score_most():
    tie, sure = {"a": 0.5, "b": 0.5}, {"a": 0.98, "b": 0.02}
    still = Group(passes=[tie, tie], draws=[100, 100])
    one = Group(passes=[sure, sure], draws=[100, 100])
    apart = Group(passes=[{"a": 0.9, "b": 0.1}, {"a": 0.1, "b": 0.9}], draws=[100, 100])
    found = scores([still, one, apart], ["a", "b"], 0.0)
    assert found[0] > found[1]
    assert found[0] > found[2]
    assert headroom(np.array([[0.5, 0.5]]), np.array([0.6, 0.8])) == pytest.approx(0.3)


def test_groups_name_their_best_in_turn_and_no_kind_takes_all():
    values = np.array([[9, 0], [8, 1], [7, 2], [6, 9], [5, 8], [4, 7]])
    assert best_in_turn(values, list("abcdef"), 4) == [0, 3, 1, 4]
    # a quarter of 4 is of a kind as long as there are others: 3 is the only other one
    assert best_in_turn(values, list("aaabaa"), 4)[:2] == [0, 3]
    assert len(best_in_turn(values, list("aaaaaa"), 4)) == 4
    assert sorted(best_in_turn(values, list("aaabaa"), 9)) == [0, 1, 2, 3, 4, 5]


def test_a_kind_is_which_answers_are_tied_in_which_order():
    rows = [{"a": 0.3, "b": 0.6, "c": 0.1}, {"c": 1.0}]
    assert kind(Group(passes=rows, draws=[None, None])) == ("b", "a")
