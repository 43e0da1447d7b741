from pathlib import Path

import pytest
from distill_world import changed

from auditor.distill.recipe import load_recipe, recipe_from
from auditor.errors import RecipeError

BASELINE = {
    "student": {
        "init": {
            "architecture": "llama",
            "hidden": 32,
            "layers": 2,
            "heads": 2,
            "tokenizer": "bytes",
        }
    },
    "data": {"text": "a.txt"},
    "method": {"kind": "baseline"},
    "train": {"steps": 5},
}


def refused(values: object) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        recipe_from(values)
    return caught.value


def test_unknown_key_is_named_with_its_close_match_and_the_allowed_keys():
    error = refused(changed(BASELINE, "train", bath_tokens=1))
    assert error.message == "unknown key train.bath_tokens"
    assert error.hint is not None
    assert error.hint.startswith("did you mean batch_tokens? keys allowed here: accumulate, ")
    assert error.hint.endswith("weight_decay")


def test_misspelt_required_key_is_reported_as_the_unknown_one():
    values = {**BASELINE, "train": {"step": 5}}
    assert refused(values).message == "unknown key train.step"


def test_unknown_key_inside_the_student_lists_the_keys_of_init():
    student = {"init": {**BASELINE["student"]["init"], "depth": 3}}
    error = refused({**BASELINE, "student": student})
    assert error.message == "unknown key student.init.depth"
    assert "kv_heads, layers" in str(error.hint)


def test_method_that_is_not_available_lists_those_that_are():
    error = refused(changed(BASELINE, "method", kind="telepathy"))
    assert error.message.startswith("method.kind: 'telepathy' is not available")
    assert "baseline, sequence, logits" in error.message


@pytest.mark.parametrize(
    ("section", "keys", "words"),
    [
        ("train", {"lr": 0}, "train.lr"),
        ("train", {"steps": 0}, "train.steps"),
        ("data", {"holdout": 1.0}, "data.holdout"),
        ("method", {"alpha": 0.5}, "alpha is for logits"),
        ("method", {"kind": "logits"}, "needs a teacher"),
        ("student", {"from": "smollm2"}, "exactly one of: init, from, shrink"),
        ("data", {"prompts": "p.jsonl"}, "nobody to answer"),
        ("data", {"max_length": 600}, "longer than student.init.max_length"),
    ],
)
def test_wrong_values_and_contradictions_are_refused(section, keys, words):
    assert words in refused(changed(BASELINE, section, **keys)).message


def test_teacher_none_means_no_teacher_and_a_named_one_is_refused_for_baseline():
    assert recipe_from({**BASELINE, "teacher": "none"}).teacher is None
    assert "baseline has no teacher" in refused({**BASELINE, "teacher": "smollm2"}).message


def test_shrinking_without_a_teacher_is_refused():
    values = {**BASELINE, "student": {"shrink": {"layers": 2}}}
    assert "layers of a teacher" in refused(values).message


def test_digest_covers_defaults_and_not_the_spelling(tmp_path: Path):
    written = recipe_from({**BASELINE, "train": {"steps": 5, "batch_tokens": 2048}})
    assert written.digest == recipe_from(BASELINE).digest
    assert recipe_from(changed(BASELINE, "train", seed=1)).digest != written.digest


def test_yaml_file_is_read_with_paths_relative_to_it(tmp_path: Path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "student: {init: {architecture: gpt2, hidden: 8, layers: 1, heads: 2, tokenizer: bytes}}\n"
        "data: {text: [a.txt, b.txt]}\nmethod: {kind: baseline}\ntrain: {steps: 5, lr: 1e-3}\n"
    )
    (tmp_path / "model").mkdir()
    recipe = load_recipe(path)
    assert recipe.train.lr == 0.001  # YAML 1.1 reads 1e-3 as text
    assert recipe.path("a.txt") == tmp_path / "a.txt"
    assert recipe.subject("model") == str(tmp_path / "model")
    assert recipe.subject("local:model") == f"local:{tmp_path / 'model'}"
    assert recipe.subject("smollm2") == "smollm2"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"train: {steps: 1, steps: 2}", "'steps' stands twice"),
        (b"train: [", "is not YAML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"- a\n- b", "a recipe is a mapping, not list"),
    ],
)
def test_files_that_are_no_recipe_say_why(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(RecipeError, match=words):
        load_recipe(tmp_path / "r.yaml")


def test_missing_recipe_file_is_bad_input(tmp_path: Path):
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load_recipe(tmp_path / "none.yaml")
