import math

import numpy as np
import pytest

from auditor.errors import UndefinedError
from auditor.judge.assess import cllr, cllr_min
from auditor.judge.calibrate import scored
from auditor.judge.curves import PRIORS, empirical_cross_entropy, recalibration, tippett


def ratios(first, second):
    values = np.array([*first, *second], dtype=np.float64)
    return scored(values, [True] * len(first) + [False] * len(second))


def test_tippett_is_the_share_at_or_above():
    found = tippett(ratios([2.0, 1.0, 1.0, 0.0], [-1.0]))
    x, share = found.first
    assert x.tolist() == [0.0, 1.0, 2.0]
    assert share == pytest.approx([1.0, 0.75, 0.25])
    assert found.second[0].tolist() == [-1.0]
    assert found.second[1] == pytest.approx([1.0])


def test_ece_at_even_prior_odds_is_cllr():
    controls = ratios([0.5, 1.2, -0.3], [-1.0, 0.2])
    found = empirical_cross_entropy(controls)
    middle = PRIORS.index(0.0)
    assert found.lr[middle] == pytest.approx(cllr(controls))
    assert found.pav[middle] == pytest.approx(cllr_min(controls))
    assert found.ignored[middle] == pytest.approx(1.0)


def test_ece_of_ignored_evidence_is_the_entropy_of_the_prior():
    found = empirical_cross_entropy(ratios([0.5], [-1.0]))
    at = PRIORS.index(-1.0)
    p = 1 / 11
    expected = -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
    assert found.ignored[at] == pytest.approx(expected)


def test_ece_by_hand():
    # Prior odds 10 and LR 3 and 1/7: posterior odds 30 and 10/7.
    found = empirical_cross_entropy(ratios([math.log10(3)], [-math.log10(7)]))
    expected = 10 / 11 * math.log2(31 / 30) + 1 / 11 * math.log2(1 + 10 / 7)
    assert found.lr[PRIORS.index(1.0)] == pytest.approx(expected)


def test_ece_of_a_wrong_certainty_is_undefined():
    with pytest.raises(UndefinedError, match="cost is infinite"):
        empirical_cross_entropy(ratios([-math.inf], [0.0]))


def test_pav_points_ascend_and_keep_their_class():
    found = recalibration(ratios([3.0, 1.0], [2.0, 0.0]))
    assert found.log10_lr.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert found.first.tolist() == [False, True, False, True]
    assert found.pav.tolist() == [-math.inf, 0.0, 0.0, math.inf]
