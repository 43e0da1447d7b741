"""The shipped pack's score table as suspects and as our own results."""

import math

import pytest

from auditor.controls.comparison.pack_models import (
    ACCESSES,
    _by_question,
    own_results,
    pack_suspects,
)
from auditor.controls.pack_scores import read_scores
from auditor.data import data_dir
from auditor.judge.calibration import FILE, read_calibration

PACK = data_dir("probes") / "packs" / "zoo"


@pytest.fixture(scope="module")
def rows():
    return read_scores(PACK / "scores.jsonl")


def test_each_model_of_a_split_is_a_suspect_with_its_group_and_family(rows, tmp_path):
    found = pack_suspects(rows, tmp_path)
    locked = [row for row in rows if row["split"] == "locked"]
    assert set(found) == {row["name"] for row in locked}
    assert len(pack_suspects(rows, tmp_path, split=None)) == len(rows)
    one = locked[0]
    suspect = found[one["name"]]
    assert suspect.folder == tmp_path / one["name"]
    assert (suspect.role, suspect.kind) == (one["role"], f"{one['role']}/{one['group']}")
    assert (suspect.family, suspect.split) == (one["family"], "locked")


def test_low_doses_and_students_that_started_from_a_model_are_no_headline(rows, tmp_path):
    kinds = {s.kind: s.headline for s in pack_suspects(rows, tmp_path, split=None).values()}
    beside = {kind for kind, headline in kinds.items() if not headline}
    assert beside == {
        f"imitation/{name}" for name in ("logits-10", "text-10", "text-based", "text-further")
    }


def test_pairwise_ratios_make_the_ratio_of_each_question():
    found = _by_question(
        {
            "imitation:independent": math.log10(4.0),
            "replication:independent": math.log10(8.0),
            "replication:imitation": math.log10(2.0),
        }
    )
    # 1 / (1/16 + 1/4) = 3.2; 4; (4 + 8) / 2 = 6.
    assert found == pytest.approx(
        {"replication": math.log10(3.2), "imitation": math.log10(4.0), "link": math.log10(6.0)}
    )
    assert _by_question({"replication:independent": 1.0}) == {}
    # Far beyond the range of floats.
    huge = {"imitation:independent": 900.0, "replication:independent": -900.0}
    assert _by_question(huge)["link"] == pytest.approx(900.0 - math.log10(2.0))


def test_our_readings_accuse_as_the_table_says_and_text_alone_has_no_word(rows):
    calibration = read_calibration(PACK / FILE)
    some = [row for row in rows if row["split"] == "locked"][::12]
    for row in some:
        found = {one.reading: one for one in own_results([row], calibration)[row["name"]]}
        assert tuple(found) == tuple(ACCESSES)
        weights, text = found["auditor-weights"], found["auditor-text"]
        assert weights.verdict == row["reading"]
        assert weights.accuses_any is (row["reading"] in ("replication", "imitation"))
        assert (text.verdict, text.accuses_any) == (None, None)
        assert {name for name, value in text.raw.items() if value is not None} <= {"sample"}
        for one in found.values():
            assert one.failure is None
            # What is stated is the same ratio, bounded: never further from 1.
            assert abs(one.stated["imitation"]) <= abs(one.scores["imitation"]) + 1e-9
