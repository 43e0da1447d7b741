"""A byte-level student of a subword teacher: what is captured, and that it helps."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from distill_world import write_permission

from auditor.distill.byte_capture import ByteTeacher, byte_ids, byte_teacher
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.distill.training import frozen
from auditor.errors import VocabularyError
from auditor.models.byte_tokenizer import byte_tokenizer
from auditor.models.loading import load_transformers
from auditor.models.vocabulary import vocabulary_of

TEACHER = "tiny:zoo/reference-00"  # 512 merged tokens


@pytest.fixture(scope="module")
def source() -> ByteTeacher:
    loaded = load_transformers(TEACHER, device="cpu", dtype="float32")
    return byte_teacher(frozen(loaded, None), loaded.tokenizer, vocabulary_of(byte_tokenizer()))


def encoded(text: str) -> list[int]:
    ids: list[int] = byte_tokenizer()(text, add_special_tokens=False)["input_ids"]
    return ids


def test_each_row_is_a_distribution_over_bytes(source: ByteTeacher) -> None:
    text = "The fox ran to the river. "
    found = source.log_targets(encoded(text), 1.0)
    assert found.shape == (len(text), source.vocabulary)
    assert found.exp().sum(1) == pytest.approx(1.0, abs=1e-5)
    # It is a teacher: the byte that follows is likelier than by chance, by far.
    own = found[torch.arange(len(text)), torch.tensor(encoded(text))]
    assert -own[4:].mean() < 0.5 * math.log(256)


def test_where_the_teacher_is_silent_the_label_stands(source: ByteTeacher) -> None:
    end = byte_tokenizer().eos_token_id
    ids = [*encoded("A cat."), end, *encoded("A dog.")]
    found = source.log_targets(ids, 1.0)
    assert found[6, end] == 0.0
    assert found[6].exp().sum() == 1.0
    # A new document is read without the one before it.
    again = source.log_targets(encoded("A dog."), 1.0)
    assert torch.allclose(found[7:], again, atol=1e-5)


def test_a_character_that_is_cut_in_two_is_left_to_the_label(source: ByteTeacher) -> None:
    ids = encoded("é cat é")
    cut = ids[1:-1]  # half of the first and of the last character
    found = source.log_targets(cut, 1.0)
    for place in (0, len(cut) - 1):
        assert found[place, cut[place]] == 0.0
    assert found[2].exp().max() < 1.0


def test_only_bytes_are_a_byte_vocabulary() -> None:
    ids = byte_ids(vocabulary_of(byte_tokenizer()))
    assert ids is not None
    assert ids.shape == (256,)
    tokenizer = load_transformers(TEACHER, device="cpu").tokenizer
    assert byte_ids(vocabulary_of(tokenizer)) is None


def values(folder: Path, **changes: Any) -> dict[str, Any]:
    write_permission(folder / "permission.json", TEACHER)
    init = {"architecture": "llama", "hidden": 32, "layers": 2, "heads": 2, "max_length": 160}
    found: dict[str, Any] = {
        "student": {"init": {**init, "tokenizer": "bytes"}},
        "data": {
            "corpus": {"name": "stories", "seed": 5, "documents": 40},
            "max_length": 160,
            "holdout": 0.2,
        },
        "train": {"steps": 150, "batch_tokens": 1024, "lr": 0.006},
        **changes,
    }
    return found


def learned(folder: Path, name: str, recipe: dict[str, Any]) -> dict[str, Any]:
    lineage: dict[str, Any] = distill(recipe_from(recipe, folder), folder / name)
    return lineage


def test_the_student_learns_more_than_from_the_text_alone(tmp_path: Path) -> None:
    method = {"kind": "logits", "cache": {"scheme": "topk", "k": 64}}
    taught = learned(
        tmp_path,
        "taught",
        values(tmp_path, teacher=TEACHER, permission="permission.json", method=method),
    )
    alone = learned(tmp_path, "alone", values(tmp_path, method={"kind": "baseline"}))
    ends = [run["results"]["holdout"]["end"]["loss"] for run in (taught, alone)]
    assert ends[0] < ends[1]
    assert taught["vocabulary"]["relation"] == "different"
    assert taught["data"]["cache"]["identity"]["unit"] == "byte"
    manifest = json.loads((tmp_path / "taught/cache/manifest.json").read_bytes())
    assert manifest["head"] is None


@pytest.mark.parametrize("cache", [None, {"scheme": "dense"}])
def test_without_a_sparse_cache_other_tokens_are_refused(tmp_path: Path, cache: Any) -> None:
    method = {"kind": "logits", "cache": cache}
    recipe = values(tmp_path, teacher=TEACHER, permission="permission.json", method=method)
    with pytest.raises(VocabularyError, match="token by token"):
        learned(tmp_path, "run", recipe)
