"""The lines of evidence beside the fusion, and the doses beside a suspect, by hand."""

import pytest
from details_world import PAIR, calibration, fusion

from auditor.errors import UndefinedError
from auditor.judge.calibration import calibration_from_json
from auditor.judge.fuse import fuse, point_ratios
from auditor.judge.support import dose_response_json, support_json

SCORES = {"replication": None, "span": None, "sample": 3.0, "idiosyncrasy": 1.0}


def lines(scores=SCORES):
    return {line["line"]: line for line in support_json(calibration(), scores)["lines"]}


def test_fusion_is_the_sum_and_its_interval_that_of_the_resamples():
    # 0.2 * 3 + 0.2 * 1 = 0.8; resamples 0.4 and 1.2, percentiles 2.5 and 97.5 between them.
    found = lines()["fusion"]["pairs"][PAIR]
    assert found["log10_lr"] == pytest.approx(0.8)
    assert found["interval"] == pytest.approx([0.4 + 0.025 * 0.8, 1.2 - 0.025 * 0.8])
    assert found["families"] == [30, 40]
    assert not found["capped"]


def test_a_line_beyond_its_cap_states_the_cap_and_keeps_what_it_would_be():
    found = lines()["sample"]["pairs"][PAIR]
    assert found["unbounded"] == pytest.approx(1.5)
    assert found["log10_lr"] == 1.0
    assert found["capped"]


def test_a_missing_score_is_a_reason_and_no_ratio():
    found = lines({**SCORES, "sample": None})
    assert found["sample"]["pairs"] == {}
    assert found["sample"]["undefined"] == "not defined for this suspect: sample"
    assert "no fusion was validated" in found["fusion"]["undefined"]
    assert support_json(calibration(), {"sample": None})["pattern"] is None


def test_a_fusion_without_resamples_gives_points_and_no_interval():
    bare = fusion({"sample": 0.2}, drawn=())
    assert point_ratios(bare, {"sample": 2.0})[PAIR] == pytest.approx(0.4)
    with pytest.raises(UndefinedError, match="keeps no resamples"):
        fuse(bare, {"sample": 2.0})


def test_the_file_of_a_calibration_holds_all_of_it():
    content = calibration().as_json()
    assert "controls" not in content  # no score table: nothing of the details is kept
    assert calibration_from_json(content).as_json() == content


def test_dose_curve_is_mean_and_standard_deviation_of_families():
    found = {
        row["test"]: row
        for row in dose_response_json(calibration(), SCORES, {"sample-llr": 2.5}, "Llama")
    }
    row = found["sample-llr"]
    assert [(p["dose"], p["mean"], p["spread"], p["families"]) for p in row["curve"]] == [
        (0.0, 0.0, 1.0, 3),
        (1.0, 6.0, 1.0, 3),
    ]
    assert (row["score"], row["threshold"]) == (3.0, 2.5)
    assert "a curve needs two" in found["idiosyncratic-agreement"]["undefined"]


def test_doses_of_another_architecture_are_refused():
    for row in dose_response_json(calibration(), SCORES, {}, "GPT2"):
        assert row["curve"] == []
        assert row["undefined"] == "the graded controls are Llama students, the suspect is not"
