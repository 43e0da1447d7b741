"""Real answers of the tools, recorded, and what they are read as."""

import json
import math

import pytest
from comparison_world import ANSWERS

from auditor.controls.comparison.tools import TOOLS

RECORDED = json.loads(ANSWERS.read_bytes())


def read(tool, pair):
    recorded = RECORDED[tool]
    return TOOLS[tool].read(recorded["answers"][pair], recorded["version"])


def words(tool, reading=0):
    return {pair: read(tool, pair)[reading].verdict for pair in RECORDED[tool]["answers"]}


def accused(tool, reading=0):
    answers = RECORDED[tool]["answers"]
    return {pair for pair in answers if read(tool, pair)[reading].accuses_any}


def test_answers_were_recorded_from_the_versions_that_are_asked_for():
    for name, tool in TOOLS.items():
        assert tool.requirement.endswith(f"=={RECORDED[name]['version']}")


@pytest.mark.parametrize("tool", TOOLS)
def test_each_reading_has_a_score_on_every_recorded_pair(tool):
    for pair in RECORDED[tool]["answers"]:
        found = read(tool, pair)
        assert tuple(one.reading for one in found) == TOOLS[tool].readings
        assert all(one.score is not None and one.failure is None for one in found)
        assert {one.version for one in found} == {RECORDED[tool]["version"]}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_copy_scores_highest_in_every_reading(tool):
    for index in range(len(TOOLS[tool].readings)):
        scores = {pair: read(tool, pair)[index].score for pair in RECORDED[tool]["answers"]}
        assert scores["copy"] == max(scores.values())


def test_modeldna_puts_a_fully_permuted_copy_and_an_independent_model_in_one_class():
    assert words("modeldna") == {
        "copy": "EXACT_COPY",
        "perturbed": "FINE_TUNE",
        "neurons-permuted": "SAME_LINEAGE",
        "all-permuted": "SAME_FAMILY_UNRESOLVED",
        "independent": "SAME_FAMILY_UNRESOLVED",
        "never-trained": "NO_MATCH",
    }
    assert accused("modeldna") == {"copy", "perturbed", "neurons-permuted"}


def test_modeldna_states_the_odds_of_its_probability_on_replication_alone():
    found = read("modeldna", "independent")[0]
    # The tool printed 85 % "likely derived" of an independent model.
    assert found.score == pytest.approx(0.8512899, abs=1e-7)
    assert found.stated == {
        "replication": pytest.approx(math.log10(0.8512899 / 0.1487101), abs=1e-6)
    }


def test_what_modeldna_rules_out_is_at_the_bottom_of_its_scale():
    answer = {"verdict": "NO_MATCH", "probability": None, "candidates": [{"ruled_out": "layers"}]}
    found = TOOLS["modeldna"].read(answer, "0.1.0")[0]
    assert (found.score, found.stated, found.failure) == (0.0, {}, None)
    assert (found.accuses_any, found.raw["ruled_out"]) == (False, "layers")


def test_what_modeldna_cannot_read_has_no_score_and_accuses_nobody():
    answer = {"verdict": "INSUFFICIENT", "probability": None, "candidates": []}
    found = TOOLS["modeldna"].read(answer, "0.1.0")[0]
    assert (found.score, found.accuses_any, found.failure) == (
        None,
        None,
        "no score with INSUFFICIENT",
    )


def test_the_two_commands_of_weightscope_contradict_each_other():
    assert accused("weightscope", 0) == {"copy", "neurons-permuted"}
    assert accused("weightscope", 1) == {"copy", "perturbed", "independent", "never-trained"}
    never = read("weightscope", "never-trained")[1]
    assert (never.verdict, never.raw["confidence"]) == ("post_training", "high")


def test_weightscope_without_a_tensor_of_equal_shape_has_no_score_but_its_word():
    answer = {
        "lineage": {"verdict": "architecture_mismatch", "sparsity": 0.0},
        "diff": {
            "label": "architecture_change",
            "confidence": "high",
            "headline": "",
            "median_max_delta": None,
        },
    }
    lineage, diff = TOOLS["weightscope"].read(answer, "0.4.3")
    assert (lineage.score, lineage.accuses_any) == (0.0, False)
    assert (diff.score, diff.accuses_any, diff.failure) == (None, False, "no tensor of equal shape")


def test_the_gate_of_the_provenance_kit_confirms_all_pairs_of_one_configuration():
    assert set(words("provenance-kit").values()) == {"Confirmed Match"}
    assert accused("provenance-kit") == set(RECORDED["provenance-kit"]["answers"])


def test_the_weights_part_of_the_provenance_kit_is_read_beside_the_gate():
    # Its own threshold is 0.75; it prints no word for this score.
    assert accused("provenance-kit", 1) == {
        "copy",
        "perturbed",
        "neurons-permuted",
        "all-permuted",
    }
    assert set(words("provenance-kit", 1).values()) == {None}


def test_a_provenance_kit_without_data_has_no_score():
    answer = {
        "scores": {
            "provenance_decision": "Insufficient data",
            "identity_score": None,
            "pipeline_score": 0.0,
            "mfi_tier": 3,
            "mfi_match": "soft",
        },
        "signals": {},
    }
    gate, identity = TOOLS["provenance-kit"].read(answer, "1.0.0")
    assert (gate.score, gate.accuses_any, gate.failure) == (None, None, "insufficient data")
    assert (identity.score, identity.accuses_any) == (None, None)


def test_the_reef_of_modelaudit_calls_every_pair_derived():
    assert accused("modelaudit-reef") == set(RECORDED["modelaudit-reef"]["answers"])


def test_the_audit_of_modelaudit_speaks_of_distillation_and_not_of_weights():
    assert words("modelaudit-audit") == {
        "copy": "likely_derived",
        "perturbed": "inconclusive",
        "neurons-permuted": "likely_derived",
        "all-permuted": "likely_derived",
        "independent": "inconclusive",
        "never-trained": "independent",
    }
    copy = read("modelaudit-audit", "copy")[0]
    assert (copy.accuses_any, copy.accuses_replication) == (True, None)
    # Mean of the two methods: (0.018693 + 0.4) / 2.
    assert read("modelaudit-audit", "never-trained")[0].score == pytest.approx(0.209347, abs=1e-6)
