import math

import numpy as np
import pytest

from auditor.errors import UndefinedError
from auditor.judge.assess import (
    auc,
    cllr,
    cllr_cal,
    cllr_min,
    dev_pav,
    multiclass_cost,
    tpr_at_fpr,
)
from auditor.judge.calibrate import family_weights, scored


def ratios(first, second, families=None):
    values = np.array([*first, *second], dtype=np.float64)
    return scored(values, [True] * len(first) + [False] * len(second), families)


def test_no_opinion_costs_one_bit():
    assert cllr(ratios([0, 0, 0], [0])) == pytest.approx(1.0)
    assert cllr_min(ratios([0, 0, 0], [0])) == pytest.approx(1.0)


def test_cllr_by_hand():
    # LR 3 where the first holds: log2(4/3); LR 1/7 where the second does: log2(8/7).
    found = cllr(ratios([math.log10(3)], [-math.log10(7)]))
    assert found == pytest.approx((math.log2(4 / 3) + math.log2(8 / 7)) / 2)


def test_both_classes_weigh_the_same():
    assert cllr(ratios([0.3], [-0.1] * 50)) == pytest.approx(cllr(ratios([0.3] * 9, [-0.1])))


def test_a_perfect_system_costs_nothing_and_a_wrong_certainty_everything():
    assert cllr(ratios([math.inf], [-math.inf])) == 0.0
    assert cllr(ratios([-math.inf], [-math.inf])) == math.inf


def test_cllr_of_large_ratios_does_not_overflow():
    assert cllr(ratios([-400.0], [-400.0])) == pytest.approx(200 * math.log2(10))


def test_cllr_min_by_hand():
    # PAV: second -> 0, the pool of one first and one second, first -> infinity. Shares: two of each
    # class, so the pool has LR 1 and costs 1 bit to half of each class.
    assert cllr_min(ratios([1.0, 3.0], [0.0, 2.0])) == pytest.approx(0.5)
    assert cllr_min(ratios([1.0, 2.0], [-1.0, 0.0])) == 0.0


def test_cllr_min_ignores_every_monotone_change_and_cllr_cal_is_the_rest():
    controls = ratios([0.2, 1.0, -0.3], [0.5, -1.0, -2.0])
    stretched = ratios([0.2**3, 1.0, -(0.3**3)], [0.5**3, -1.0, -8.0])
    assert cllr_min(controls) == pytest.approx(cllr_min(stretched))
    assert cllr_cal(controls) == pytest.approx(cllr(controls) - cllr_min(controls))
    assert cllr_cal(controls) >= 0


def test_members_of_a_family_share_its_cost():
    alone = ratios([0.2, 1.0], [-1.0, -0.5], ["a", "b", "c", "d"])
    copied = ratios([0.2, 0.2, 0.2, 1.0], [-1.0, -0.5], ["a", "a", "a", "b", "c", "d"])
    for cost in (cllr, cllr_min, auc):
        assert cost(copied) == pytest.approx(cost(alone))


def test_dev_pav_by_hand():
    # Scores 0 (second), 1 (first), 2 (second), 3 (first): the pool at 1 and 2 has PAV 0. Off the
    # diagonal by 1 and 2 over a width of 1, same side: (1 + 2) / 2.
    assert dev_pav(ratios([1.0, 3.0], [0.0, 2.0])) == pytest.approx(1.5)


def test_dev_pav_where_the_curve_crosses_the_diagonal():
    # The pool at -1 and 3 has PAV 0: off by +1 and -3 over 4. Triangles 1^2 and 3^2 over
    # 2 (1 + 3), times 4, over the width 4: 10/8.
    assert dev_pav(ratios([-1.0, 9.0], [-9.0, 3.0])) == pytest.approx(1.25)


def test_dev_pav_of_one_finite_point_is_its_distance():
    assert dev_pav(ratios([0.7, 0.7], [0.7, -3.0])) == pytest.approx(abs(0.7 - math.log10(2)))


def test_dev_pav_is_undefined_where_classes_are_separated_or_ratios_infinite():
    with pytest.raises(UndefinedError, match="perfectly separated"):
        dev_pav(ratios([2.0, 3.0], [0.0, 1.0]))
    with pytest.raises(UndefinedError, match="finite"):
        dev_pav(ratios([math.inf], [0.0]))


def test_auc_counts_pairs_and_halves_ties():
    # Pairs: (1, 0) above, (1, 1) tie, (0, 0) tie, (0, 1) below: (1 + .5 + .5 + 0) / 4.
    assert auc(ratios([1, 0], [0, 1])) == pytest.approx(0.5)
    assert auc(ratios([1, 2], [0, 1])) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("sign", [1, -1])
def test_auc_of_separated_classes_is_exact_whatever_the_weights(sign):
    # 7 and 11 families: sums of their weights round.
    found = auc(ratios([sign * 2.0] * 7, [sign * 1.0] * 11))
    assert found == (1.0 if sign > 0 else 0.0)


def test_tpr_at_one_per_cent_of_200_allows_two_false_positives():
    second = np.arange(200.0)
    # Above the third largest, 197: two of the second class pass.
    assert tpr_at_fpr(ratios([197.5, 196.5, 250.0, 0.0], second)) == 0.5


def test_tpr_with_few_unlinked_families_asks_to_beat_all_of_them():
    assert tpr_at_fpr(ratios([5.0, 5.1, 9.0], [1.0, 5.0, 2.0])) == pytest.approx(2 / 3)


def test_three_classes_that_say_nothing_cost_one():
    labels = np.array([0, 1, 2, 2])
    weights = family_weights(labels, ["a", "b", "c", "d"])
    assert multiclass_cost(np.zeros((4, 3)), labels, weights) == pytest.approx(1.0)
    certain = 100.0 * np.eye(3)[labels]
    assert multiclass_cost(certain, labels, weights) == pytest.approx(0.0, abs=1e-12)


def test_for_two_classes_the_multiclass_cost_is_cllr():
    first, second = [0.5, -0.2], [-1.0, 0.1, 0.4]
    values = np.array([*first, *second]) * math.log(10)
    labels = np.array([1, 1, 0, 0, 0])
    found = multiclass_cost(
        np.stack([np.zeros(5), values], axis=1), labels, family_weights(labels, list("abcde"))
    )
    assert found == pytest.approx(cllr(ratios(first, second)))


def test_a_multiclass_cost_needs_every_class():
    with pytest.raises(UndefinedError, match="every class"):
        multiclass_cost(np.zeros((2, 3)), np.array([0, 1]), np.ones(2))
