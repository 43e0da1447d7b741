"""Questions of a watch: near ties that honest deployments leave as they are."""

import math

import numpy as np
import pytest

from auditor.judge.cells import (
    Group,
    best_in_turn,
    cell_of,
    cells_of,
    gap,
    headroom,
    honest_margin,
    kind,
    least_gap,
    names_of,
    nearest_in_turn,
    table,
)


def tie(nats: float, temperature: float = 0.1) -> dict[str, float]:
    """Return two answers whose logits lie `nats` apart."""
    share = 1.0 / (1.0 + math.exp(-nats / temperature))
    return {"a": share, "b": 1.0 - share}


def test_the_first_answers_of_any_pass_are_named_however_rare():
    one = {"a": 1.0 - 3e-9, "b": 2e-9, "c": 1e-9, "d": 1e-12}
    other = {"d": 0.9, "a": 0.1}
    found = names_of([Group(passes=[one], draws=[None]), Group(passes=[other], draws=[None])])
    # first in a pass, by its probability; then second, then third
    assert found == ["a", "d", "b", "c"]
    assert table([one], ["a", "b"])[0] == pytest.approx([1.0, 2e-9, 1e-9], rel=1e-6, abs=1e-10)


def test_likely_answers_are_named_past_the_third_and_six_at_most():
    row = {"a": 0.3, "b": 0.2, "c": 0.2, "d": 0.1, "e": 0.1, "f": 0.06, "g": 0.04, "h": 0.001}
    assert names_of([Group(passes=[row], draws=[None])]) == list("abcdef")
    short = {"a": 0.9, "b": 0.05, "c": 0.03, "d": 0.019, "e": 0.001}
    assert names_of([Group(passes=[short], draws=[None])]) == list("abc")


def test_a_cell_has_the_ceilings_of_its_passes_and_margin():
    # gaps of 0.3 and 0.2, a margin of 0.1 nats at temperature 0.1: odds of e^1 to 1 at the ceiling
    group = Group(passes=[tie(0.3), tie(0.2)], draws=[None, None])
    (cell,) = cells_of([group], ["a", "b"], [0.1], 0.1)
    assert cell.limits[1] == pytest.approx(1.0 / (1.0 + math.e) + 0.02)
    assert cell.limits[0] == 1.0
    assert cell.usual == pytest.approx(
        np.mean([[tie(g)[k] for k in "ab"] + [0.0] for g in (0.3, 0.2)], axis=0)
    )
    assert cell.weights[1] > cell.weights[2] > 0.0


def test_a_cell_read_from_a_file_is_the_one_that_was_written():
    group = Group(passes=[tie(0.3), tie(0.2)], draws=[None, None])
    (cell,) = cells_of([group], ["a", "b"], [0.1], 0.1)
    again = cell_of(table(group.passes, ["a", "b"]), cell.limits, 0.1)
    assert again.usual.tolist() == cell.usual.tolist()
    assert again.weights.tolist() == cell.weights.tolist()


def test_a_gap_is_in_nats_at_temperature_1():
    assert gap(tie(0.07, 0.01), "a", "b", 0.01) == pytest.approx(0.07)
    assert gap(tie(0.07, 0.01), "b", "a", 0.01) == pytest.approx(-0.07)
    # of an answer that a pass lacks: as far as can be told
    assert gap({"a": 1.0}, "a", "b", 0.01) == pytest.approx(0.01 * 300 * math.log(10.0))


def test_the_least_gap_is_that_of_any_pass_and_negative_where_one_is_the_other_way_round():
    group = Group(passes=[tie(0.3), tie(0.1), tie(0.2)], draws=[None] * 3)
    assert least_gap(group, 0.1) == pytest.approx(0.1)
    turned = Group(passes=[tie(0.3), tie(-0.05)], draws=[None] * 2)
    assert least_gap(turned, 0.1) == pytest.approx(-0.05)


def test_the_margin_is_the_largest_drop_below_all_other_passes_and_a_quarter():
    groups = [
        Group(passes=[tie(0.30), tie(0.22), tie(0.28)], draws=[None] * 3),  # drops by 0.06
        Group(passes=[tie(0.10), tie(0.20), tie(0.11)], draws=[None] * 3),  # by 0.01
        Group(passes=[tie(0.90), tie(0.60), tie(0.95)], draws=[None] * 3),  # no near tie
    ]
    assert honest_margin(groups, 0.1) == pytest.approx(1.25 * 0.06)
    assert honest_margin(groups[1:], 0.1) == pytest.approx(1.25 * 0.01)
    # one pass tells nothing
    assert honest_margin([Group(passes=[tie(0.1)], draws=[None])], 0.1) == 0.0


def test_headroom_by_hand():
    assert headroom(np.array([[0.5, 0.5]]), np.array([0.6, 0.8])) == pytest.approx(0.3)


def test_groups_name_their_best_in_turn():
    values = np.array([[9, 0], [8, 1], [7, 2], [6, 9], [5, 8], [4, 7]])
    kinds = [(k, k) for k in "abcdef"]
    assert best_in_turn(values, kinds, 4) == [0, 3, 1, 4]
    assert sorted(best_in_turn(values, kinds, 9)) == [0, 1, 2, 3, 4, 5]


def test_a_second_of_a_kind_comes_after_the_first_of_all():
    values = np.array([[9.0], [8], [7], [6], [5], [4], [3]])
    # kinds a a a a b b c: a b c, then a second of a and b, then as many as are left of each
    found = best_in_turn(values, [(k,) for k in "aaaabbc"], 7)
    assert found == [0, 4, 6, 1, 5, 2, 3]


def test_what_is_not_to_be_kept_is_not():
    values = np.array([[1.0, -np.inf], [-np.inf, -np.inf], [2.0, 3.0]])
    assert best_in_turn(values, [("a", "a")] * 3, 3) == [2, 0]


def test_near_ties_of_several_kinds_come_first_and_wider_ones_last():
    # 0.05 is too narrow. Of those within 0.2 of 0.1 two kinds, in turn; then the wider ones.
    gaps = np.array([[0.05], [0.11], [0.12], [0.25], [0.5], [0.4]])
    kinds = [(k,) for k in "caabcc"]
    assert nearest_in_turn(gaps, np.array([0.1]), kinds, 6) == [1, 3, 2, 5, 4]
    assert nearest_in_turn(gaps, np.array([0.1]), kinds, 2) == [1, 3]


def test_each_group_has_a_least_gap_of_its_own():
    gaps = np.array([[0.1, 0.1], [0.3, 0.3]])
    assert nearest_in_turn(gaps, np.array([0.2, 0.05]), [("a", "a"), ("b", "b")], 2) == [1, 0]


def test_a_kind_is_which_answers_are_tied_in_which_order():
    rows = [{"a": 0.3, "b": 0.6, "c": 0.1}, {"c": 1.0}]
    assert kind(Group(passes=rows, draws=[None, None])) == ("b", "a")
    assert kind(Group(passes=[{"a": 1.0}], draws=[None])) == ("a", "")
