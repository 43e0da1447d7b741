"""What is counted as seen at each access, on score rows written by hand."""

import pytest

from auditor.controls.pack_access import power_by_access
from auditor.controls.pack_calibration import IDIOSYNCRASY, SAMPLE

FLOOR = 1 / 16


def row(family, sample, idiosyncrasy=None, reading="inconclusive", shape="a"):
    """A model with (rank p, predictive p) by each decisive test."""
    scores = {SAMPLE: sample, IDIOSYNCRASY: idiosyncrasy}
    named = ("rank_p", "predictive_p")
    return {
        "family": family,
        "shape": shape,
        "reading": reading,
        "scores": {
            name: dict(zip(named, values, strict=True))
            for name, values in scores.items()
            if values is not None
        },
    }


def seen(rows, linked=True):
    """{access: (models, families)} of rows of one kind."""
    found = power_by_access(rows, rows, [("all", lambda _: True, linked)])
    return {one["access"]: (one["seen"][0], one["families"]["count"]) for one in found}


CLEAR, MIDST = (FLOOR, 0.001), (0.5, 0.5)


def test_weights_count_the_reading_and_text_the_suspects_words():
    rows = [row("f", CLEAR, CLEAR, "imitation"), row("g", MIDST, MIDST, "no-link")]
    assert seen(rows) == dict.fromkeys(("TEXT", "TOPK", "LOGITS", "WEIGHTS"), (1, 1))
    copy = row("h", MIDST, MIDST, "replication")
    assert seen([*rows, copy])["WEIGHTS"] == (2, 2)
    assert seen([*rows, copy])["TEXT"] == (1, 1)


def test_two_tests_are_adjusted_and_must_not_contradict_each_other():
    # Holm: the smaller of two counts double, 0.008 is 0.016 then and not under 0.01.
    weak = (FLOOR, 0.008)
    assert seen([row("f", weak, (0.1, 0.05)), row("g", CLEAR, CLEAR)])["LOGITS"] == (1, 1)
    assert seen([row("f", weak), row("g", CLEAR, CLEAR)])["TEXT"] == (2, 2)
    against = row("f", CLEAR, MIDST)
    assert seen([against, row("g", CLEAR, CLEAR)])["LOGITS"] == (1, 1)
    assert seen([against, row("g", CLEAR, CLEAR)])["TEXT"] == (2, 2)


def test_a_model_that_a_control_equals_is_not_beyond_all_controls_of_its_shape():
    second = row("f", (2 / 16, 0.001))
    assert seen([second, row("g", CLEAR)])["TEXT"] == (1, 1)
    # Another shape has other controls: there 2 / 16 is the smallest that can be had.
    assert seen([row("f", (2 / 16, 0.001), shape="b"), row("g", CLEAR)])["TEXT"] == (2, 2)


def test_a_linked_family_needs_all_its_models_and_one_without_a_link_any():
    rows = [row("f", CLEAR), row("f", MIDST), row("g", CLEAR)]
    assert seen(rows)["TEXT"] == (2, 1)
    assert seen(rows, linked=False)["TEXT"] == (2, 2)


def test_the_share_of_families_has_exact_limits():
    # 1 of 1: (0.025)^(1/1) to 1 (Clopper and Pearson 1934).
    (found, *_) = power_by_access(
        [row("f", CLEAR)], [row("f", CLEAR)], [("all", lambda _: True, True)]
    )
    assert found["families"]["interval"] == pytest.approx([0.025, 1.0])


def test_a_model_without_a_test_is_not_seen():
    assert seen([row("f", None), row("g", CLEAR)])["TEXT"] == (1, 1)
