import json

import pytest
from distill_world import changed, make_teacher, sequence_values
from transformers import AutoModelForCausalLM

from auditor.distill.generate import GROUP, Generations
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill, forecast
from auditor.errors import CaseError, RecipeError
from auditor.models.specifier import identify, open_model
from auditor.progress import Silent


def test_teachers_answers_are_recorded_and_only_they_are_learned(tmp_path, teacher):
    recipe = recipe_from(sequence_values(tmp_path, teacher), tmp_path)
    lineage = distill(recipe, tmp_path / "run")
    lines = (tmp_path / "run" / "generations.jsonl").read_bytes().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["seq"] for row in rows] == list(range(6))
    assert rows[0]["request"]["decoding"]["max_new_tokens"] == 8
    assert rows[0]["request"]["seed"] == 3
    assert lineage["dose"]["share"] == 1.0
    assert lineage["data"]["generations"]["answers"] == 6
    held = lineage["data"]["prompts"]["holdout"]["count"]
    assert 1 <= held <= 5
    # Each answer has 8 tokens at most, or fewer and the end token: never more than 8 targets.
    assert lineage["data"]["holdout_targets"] <= 8 * held


def test_answers_are_drawn_again_byte_for_byte_after_a_kill(tmp_path, teacher):
    from auditor.distill.documents import read_sources

    values = sequence_values(tmp_path, teacher, prompts=GROUP + 3, samples=2)
    recipe = recipe_from(values, tmp_path)
    prompts = read_sources(recipe).prompts
    path = tmp_path / "generations.jsonl"
    model = open_model(f"local:{teacher}")
    answers = Generations(path, prompts, recipe.data.sampling)
    answers.draw(model, Silent())
    whole = path.read_bytes()
    assert whole.count(b"\n") == 2 * (GROUP + 3)
    # Killed inside the second group: its first lines and half a line are there.
    path.write_bytes(b"\n".join(whole.split(b"\n")[: 2 * GROUP + 1]) + b'\n{"seq": 6')
    assert not answers.is_complete
    assert len(answers.read()) == 2 * GROUP
    answers.draw(model, Silent())
    assert path.read_bytes() == whole


def test_edited_answer_is_noticed(tmp_path, teacher):
    recipe = recipe_from(sequence_values(tmp_path, teacher), tmp_path)
    distill(recipe, tmp_path / "run")
    path = tmp_path / "run" / "generations.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"repeat":0', b'"repeat":1', 1))
    (tmp_path / "run" / "lineage.json").unlink()
    with pytest.raises(CaseError, match="not the line that was written here"):
        distill(recipe, tmp_path / "run")


def test_repeated_prompts_are_answered_once(tmp_path, teacher):
    values = sequence_values(tmp_path, teacher, prompts=3)
    path = tmp_path / "prompts.jsonl"
    path.write_text(path.read_text() * 2)
    found = forecast(recipe_from(values, tmp_path))["data"]
    assert found["prompts"] == {"train": 2, "holdout": 1}
    assert found["left_out"] == {"repeated_prompts": 3}


def test_student_of_another_tokenizer_learns_from_text_only(tmp_path, teacher):
    from transformers import AutoTokenizer as Auto

    other = make_teacher(tmp_path / "other")
    tokenizer = Auto.from_pretrained(other)
    tokenizer.add_tokens(["wall"])
    tokenizer.chat_template = None
    tokenizer.save_pretrained(other)
    model = AutoModelForCausalLM.from_pretrained(other)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(other)
    values = sequence_values(tmp_path, teacher, student={"from": "other"})
    lineage = distill(recipe_from(values, tmp_path), tmp_path / "run")
    assert lineage["vocabulary"] == {"relation": "superset", "ids": 260}
    assert lineage["student"]["started_from"]["digest"] == identify(str(other)).digest
    assert lineage["results"]["holdout"]["end"]["kl"] is None


def test_logits_are_learned_on_the_teachers_own_answers(tmp_path, teacher):
    values = sequence_values(tmp_path, teacher, student={"shrink": {"layers": 2}})
    values["method"] = {"kind": "logits", "divergence": "reverse-kl"}
    lineage = distill(recipe_from(values, tmp_path), tmp_path / "run")
    assert lineage["data"]["generations"]["answers"] == 6
    assert lineage["data"]["documents"]["train"]["count"] == 0
    assert lineage["results"]["holdout"]["start"]["kl"] > 0


def test_prompts_of_a_suite_are_taken_with_its_digest(tmp_path, teacher):
    from auditor.collect.suite import list_suites

    suite = list_suites()[0]
    values = changed(sequence_values(tmp_path, teacher), "data", prompts=f"suite:{suite.name}")
    found = forecast(recipe_from(values, tmp_path))["data"]
    prompts, repeated = found["prompts"], found["left_out"]["repeated_prompts"]
    assert prompts["train"] + prompts["holdout"] + repeated == len(suite.probes)
    assert prompts["holdout"] > 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": "a", "text": "b"}, "exactly one of the keys"),
        ({"messages": [{"role": "user"}]}, "not a list of"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "end with a turn of the user"),
    ],
)
def test_unusable_prompts_name_the_line(tmp_path, teacher, line, words):
    values = sequence_values(tmp_path, teacher)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "fine"}\n' + json.dumps(line))
    with pytest.raises(RecipeError, match=f"prompts.jsonl, line 2: .*{words}"):
        forecast(recipe_from(values, tmp_path))
