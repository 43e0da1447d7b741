import pytest
from distill_world import changed, logits_recipe, logits_run, make_teacher, write_permission

from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill, forecast
from auditor.errors import AccessError, CaseError, RecipeError, VocabularyError


def test_folder_of_something_else_is_left_alone(tmp_path, teacher):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(CaseError, match="not the folder of a run"):
        distill(logits_run(tmp_path, teacher), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_logits_of_another_vocabulary_are_refused_before_any_work(tmp_path, teacher):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"the": 0, "wall": 1, "?": 2}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    other = make_teacher(tmp_path / "other")
    PreTrainedTokenizerFast(tokenizer_object=core).save_pretrained(other)
    recipe = logits_run(tmp_path, teacher, student={"from": "other"})
    for refused in (forecast, lambda r: distill(r, tmp_path / "run")):
        with pytest.raises(VocabularyError, match="different"):
            refused(recipe)
    assert not (tmp_path / "run").exists()


def test_recorded_text_has_no_logits(tmp_path):
    records = tmp_path / "records.jsonl"
    records.write_text("{}\n")
    values = logits_recipe(tmp_path, tmp_path / "x")
    values["teacher"] = f"records:{records}"
    write_permission(tmp_path / "permission.json", f"records:{records}")
    with pytest.raises(AccessError, match="no logits to learn from"):
        distill(recipe_from(values, tmp_path), tmp_path / "run")


def test_more_layers_than_the_teacher_has_are_refused_by_the_forecast(tmp_path, teacher):
    recipe = logits_run(tmp_path, teacher, student={"shrink": {"layers": 4}})
    with pytest.raises(RecipeError, match="the teacher has 3 layers"):
        forecast(recipe)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"{", "line 1: not JSON"),
        (b'{"txt": "a"}', "no text under the key 'text'"),
        (b"\xff\xfe\xfa", "not UTF-8"),
    ],
)
def test_unusable_data_name_the_file_and_the_line(tmp_path, teacher, content, words):
    recipe = logits_run(tmp_path, teacher)
    (tmp_path / "text.jsonl").write_bytes(content)
    with pytest.raises(RecipeError, match=words):
        distill(recipe, tmp_path / "run")


def test_unknown_corpus_lists_those_there_are(tmp_path, teacher):
    data = {"corpus": {"name": "tales", "documents": 3}, "max_length": 32}
    recipe = logits_run(tmp_path, teacher, data=data)
    with pytest.raises(RecipeError) as caught:
        forecast(recipe)
    assert "stories" in str(caught.value.hint)


def test_sequence_longer_than_a_model_reads_is_refused(tmp_path, teacher):
    values = changed(logits_recipe(tmp_path, teacher), "data", max_length=80)
    with pytest.raises(RecipeError, match="longer than the 64 that the student reads"):
        distill(recipe_from(values, tmp_path), tmp_path / "run")


def test_budget_too_small_for_its_parts_is_refused_before_the_teacher_is_read(tmp_path):
    values = logits_recipe(tmp_path, tmp_path / "absent")
    values = changed(values, "train", batch_tokens=63, accumulate=2)
    with pytest.raises(RecipeError, match="too small: 2 part"):
        forecast(recipe_from(values, tmp_path))


def test_unfinished_run_is_not_continued_when_told_not_to(tmp_path, teacher):
    recipe = logits_run(tmp_path, teacher)
    distill(recipe, tmp_path / "run")
    (tmp_path / "run" / "lineage.json").unlink()
    with pytest.raises(CaseError, match="unfinished"):
        distill(recipe, tmp_path / "run", resume=False)
