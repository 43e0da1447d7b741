"""Counts of erring control families at the threshold of a case."""

import pytest

from auditor.judge.dose import DosedScore
from auditor.judge.error_rates import error_rates


def scores(*rows):
    return [DosedScore(dose=dose, score=score, family=family) for dose, score, family in rows]


GRADED = scores(
    (0.0, 1.0, "a"),
    (0.0, 9.0, "b"),
    (0.0, 2.0, "b"),
    (0.0, 5.0, "c"),
    (0.5, 8.0, "d"),
    (0.5, 4.0, "e"),
    (1.0, 9.0, "f"),
)


def test_a_family_counts_once_where_any_member_errs():
    (found,) = error_rates({"sample-llr": GRADED}, {"sample-llr": 5.0})
    # Above 5 of the unlinked: b alone (9), c is not above. Not above 5 at dose 0.5: e alone.
    assert (found["false_support"]["count"], found["false_support"]["families"]) == (1, 3)
    assert [(row["dose"], row["count"], row["families"]) for row in found["missed"]] == [
        (0.5, 1, 2),
        (1.0, 0, 1),
    ]


def test_no_error_of_three_families_has_the_closed_form_limit():
    (found,) = error_rates({"t": GRADED}, {"t": 10.0})
    # 0 of n: the upper limit p solves (1 - p)^3 = 0.025.
    assert found["false_support"]["interval"] == pytest.approx([0.0, 1 - 0.025 ** (1 / 3)])
    # n of n at dose 1: all of one family are missed, lower limit 0.025.
    assert found["missed"][1]["interval"] == pytest.approx([0.025, 1.0])


def test_a_test_without_threshold_or_without_controls_has_no_rates():
    assert error_rates({"t": GRADED}, {}) == []
    assert error_rates({}, {"t": 1.0}) == []
    (found,) = error_rates({"t": scores((1.0, 2.0, "a"))}, {"t": 1.0})
    assert found["false_support"] is None
