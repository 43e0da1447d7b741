import importlib.util
import json
import re

import pytest
import torch
from distill_world import changed, write_permission
from embedding_world import embedding_recipe, embedding_values, init, make_encoder, method
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from auditor.distill import embedding_subjects
from auditor.distill.checkpoints import newest_complete
from auditor.distill.embedding_data import token_rows
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill, forecast
from auditor.errors import (
    MissingExtraError,
    PermissionRefusedError,
    RecipeError,
    SubjectError,
    UndefinedError,
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder"))


def test_not_a_byte_of_a_teacher_is_read_without_permission(tmp_path):
    nowhere = tmp_path / "nowhere"  # reading it would be a SubjectError
    values = embedding_values(tmp_path, nowhere)
    write_permission(tmp_path / "permission.json", f"local:{nowhere}", verdict="deny")
    for work in (forecast, lambda recipe: distill(recipe, tmp_path / "run")):
        with pytest.raises(PermissionRefusedError, match="verdict deny"):
            work(recipe_from(values, tmp_path))
    assert not (tmp_path / "run").exists()


def test_a_permission_for_other_files_is_refused(tmp_path, encoder):
    recipe = embedding_recipe(tmp_path, encoder)
    given = {"spec": f"local:{encoder}", "digest": "sha256:" + "0" * 64}
    write_permission(tmp_path / "permission.json", "", teacher=given)
    with pytest.raises(PermissionRefusedError, match="is for weights sha256:0000"):
        distill(recipe, tmp_path / "run")


def test_a_language_model_is_no_teacher_of_embeddings(tmp_path, teacher):
    with pytest.raises(SubjectError, match=r"is no sentence encoder \(no modules.json\)"):
        distill(embedding_recipe(tmp_path, teacher), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_of_another_scheme_is_no_encoder(tmp_path, encoder):
    values = embedding_values(tmp_path, encoder, teacher="smollm2")
    write_permission(tmp_path / "permission.json", "smollm2")
    with pytest.raises(SubjectError, match="smollm2 is no sentence encoder"):
        forecast(recipe_from(values, tmp_path))


def test_an_encoder_of_unknown_parts_is_refused_by_their_names(tmp_path):
    folder = make_encoder(tmp_path / "teacher")
    modules = (folder / "modules.json").read_text().replace("Normalize", "LSTM")
    (folder / "modules.json").write_text(modules)
    with pytest.raises(SubjectError, match="made of Transformer, Pooling, LSTM"):
        forecast(embedding_recipe(tmp_path, folder))


def test_another_width_without_a_projection_is_refused(tmp_path, encoder):
    recipe = embedding_recipe(tmp_path, encoder, student=init(), method=method(projection=False))
    with pytest.raises(RecipeError, match="have 16 numbers, the teacher's 24") as caught:
        distill(recipe, tmp_path / "run")
    assert "loss similarity" in str(caught.value.hint)
    assert not (tmp_path / "run").exists()


def test_more_layers_than_the_teacher_has_are_refused(tmp_path, encoder):
    recipe = embedding_recipe(tmp_path, encoder, student={"shrink": {"layers": 5}})
    with pytest.raises(RecipeError, match="the teacher has 4 layers"):
        forecast(recipe)


BROKEN = {
    "needs a teacher": {"teacher": None},
    "architecture must be bert": {"student": init(architecture="llama")},
    "an encoder has no unembedding": {"student": init(tie=False)},
    "give data.text or data.corpus in place of data.prompts": {"data": {"prompts": "text.jsonl"}},
    "train.lora is not for method embedding": {"train": {"steps": 1, "lora": {}}},
    "saved in float32": {"train": {"steps": 1, "save_dtype": "float16"}},
    "set train.accumulate to 1": {
        "method": method(loss="similarity"),
        "train": {"steps": 1, "accumulate": 2},
    },
    "method.embedding is for method embedding": {"method": {"kind": "logits", "embedding": {}}},
    "architecture bert is for method embedding": {
        "method": {"kind": "logits"},
        "student": init(),
    },
    "reads no logits": {"method": {"kind": "embedding", "cache": {"scheme": "topk"}}},
    "canaries are learnt by cross-entropy": {"marks": {"canaries": 20}},
    "unknown key method.embedding.projektion": {"method": method(projektion=True)},
}


@pytest.mark.parametrize(("sentence", "changes"), BROKEN.items(), ids=BROKEN)
def test_recipes_that_contradict_themselves_are_refused(tmp_path, sentence, changes):
    values = embedding_values(tmp_path, tmp_path / "nowhere", **changes)
    with pytest.raises(RecipeError, match=re.escape(sentence)):
        recipe_from(values, tmp_path)


def test_an_empty_text_is_refused(tmp_path, encoder):
    recipe = embedding_recipe(tmp_path, encoder)
    (tmp_path / "text.jsonl").write_text(json.dumps({"text": "a"}) + '\n{"text": "  "}\n')
    with pytest.raises(RecipeError, match="line 2: no text"):
        distill(recipe, tmp_path / "run")


def test_a_text_without_a_token_is_refused():
    words = Tokenizer(models.WordPiece({"[UNK]": 0, "cat": 1}, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()  # drops the zero-width space
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    assert len(token_rows(["cat cat"], tokenizer, 8)) == 1
    with pytest.raises(RecipeError, match=r"text 2 .* has no token"):
        token_rows(["cat cat", "\u200b"], tokenizer, 8)


def test_steps_of_two_texts_cannot_be_compared(tmp_path, encoder):
    changes = {"method": method(loss="similarity"), "train": {"steps": 9, "batch_tokens": 100}}
    recipe = embedding_recipe(tmp_path, encoder, **changes)
    for work in (forecast, lambda recipe: distill(recipe, tmp_path / "run")):
        with pytest.raises(RecipeError, match="compares the texts of a step, and a step has"):
            work(recipe)


def test_a_teacher_of_nan_is_refused_with_the_text(tmp_path):
    folder = make_encoder(tmp_path / "teacher")
    state = load_file(folder / "model.safetensors")
    state["encoder.layer.1.output.dense.weight"][:] = float("nan")
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    recipe = embedding_recipe(tmp_path, folder)
    with pytest.raises(UndefinedError, match=r"the text sha256:[0-9a-f]+ a vector that is not"):
        distill(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "embeddings.jsonl").read_bytes()


def test_a_loss_of_nan_stops_with_its_batch_and_keeps_the_checkpoint(tmp_path, encoder):
    values = changed(embedding_values(tmp_path, encoder), "train", save_every=1, clip=0)
    values["train"].update(lr=1e38, warmup=0, schedule="constant")
    with pytest.raises(UndefinedError, match=r"loss of step \d is nan: a batch of \d+ texts") as no:
        distill(recipe_from(values, tmp_path), tmp_path / "run")
    step = int(re.search(r"step (\d)", no.value.message)[1])
    kept = newest_complete(tmp_path / "run" / "checkpoints")
    assert kept is not None
    assert kept[1] == step - 1
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["step"] == step - 1
    assert torch.isfinite(torch.tensor([json.loads(row).get("loss", 0.0) for row in rows])).all()


def test_training_without_datasets_names_the_command(tmp_path, encoder, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        embedding_subjects.importlib.util,
        "find_spec",
        lambda name: None if name == "datasets" else found(name),
    )
    with pytest.raises(MissingExtraError) as caught:
        forecast(embedding_recipe(tmp_path, encoder))
    assert "sentence-transformers[train]" in str(caught.value.hint)
