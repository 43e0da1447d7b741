"""What a run cost: counts that follow from the recipe, and seconds outside the record."""

import json

import pytest
from distill_world import changed, logits_recipe, sequence_values

from auditor.distill.cost import Stopwatch, answer_tokens, tokens
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill


@pytest.fixture(scope="module")
def cached(tmp_path_factory, teacher):
    """A logits run with a cache: (folder, lineage)."""
    folder = tmp_path_factory.mktemp("cached")
    values = changed(logits_recipe(folder, teacher), "method", cache={"scheme": "topk", "k": 4})
    return folder / "run", distill(recipe_from(values, folder), folder / "run")


def cost_of(run):
    return json.loads((run / "cost.json").read_bytes())


def test_cost_of_a_cached_run_counts_each_captured_position_once(cached):
    run, lineage = cached
    cost, cache = cost_of(run), lineage["data"]["cache"]
    assert cost["training_tokens"] == lineage["dose"]["gradient_tokens"]
    held = lineage["data"]["holdout_targets"]
    assert cost["teacher_tokens_scored"] == cache["positions"] + held
    assert cost["cache_bytes_per_token"] == cache["bytes_per_position"]
    assert cost["teacher_tokens_generated"] == 0
    assert not cost["resumed"]


def test_seconds_stay_out_of_the_files_that_a_lineage_lists(cached):
    run, lineage = cached
    assert "cost.json" not in lineage["files"]
    assert "fidelity.json" in lineage["files"]
    seconds = cost_of(run)["seconds"]
    assert list(seconds) == ["answers", "preparation and capture", "records", "training"]
    assert all(value >= 0 for value in seconds.values())


def test_cost_of_answers_counts_the_teachers_tokens(tmp_path, teacher):
    lineage = distill(recipe_from(sequence_values(tmp_path, teacher), tmp_path), tmp_path / "run")
    rows = (tmp_path / "run" / "generations.jsonl").read_text().splitlines()
    cost = cost_of(tmp_path / "run")
    assert cost["teacher_tokens_generated"] == sum(len(json.loads(r)["token_ids"]) for r in rows)
    assert 0 < cost["teacher_tokens_generated"] <= 6 * 8
    # The answers are all it was asked for: their probabilities were not read.
    assert cost["teacher_tokens_scored"] == 0
    assert cost["cache_bytes_per_token"] is None
    assert lineage["dose"]["gradient_tokens"] == cost["training_tokens"]


def test_live_teacher_is_asked_at_every_step_and_once_for_the_held_out_part():
    lineage = {
        "dose": {"gradient_tokens": 700},
        "data": {"holdout_targets": 50},
        "method": {"kind": "logits"},
    }
    assert tokens(lineage)["teacher_tokens_scored"] == 750
    lineage["method"]["kind"] = "baseline"
    assert tokens(lineage)["teacher_tokens_scored"] == 0


def test_answers_known_as_text_alone_have_no_count(tmp_path):
    path = tmp_path / "generations.jsonl"
    path.write_text('{"text": "a wall", "token_ids": []}\n')
    assert answer_tokens(path) is None
    path.write_text('{"text": "", "token_ids": []}\n{"text": "b", "token_ids": [4, 5]}\n')
    assert answer_tokens(path) == 2


def test_laps_add_up_by_stage():
    watch = Stopwatch(resumed=True)
    for stage in ("a", "b", "a"):
        watch.lap(stage)
    assert list(watch.seconds) == ["a", "b"]
