"""Adapters from recipe to a plain student."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from distill_world import changed, logits_recipe, make_teacher, weights_digest_of
from safetensors.torch import load_file

from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.errors import RecipeError


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


def adapted_values(folder: Path, teacher: Path, **lora: Any) -> dict[str, Any]:
    return changed(
        logits_recipe(folder, teacher), "train", lora={"rank": 2, **lora}, lr=0.02, steps=30
    )


def test_the_student_is_a_plain_model_of_the_same_shape(tmp_path: Path, teacher: Path) -> None:
    values = adapted_values(tmp_path, teacher)
    distill(recipe_from(values, tmp_path), tmp_path / "run")
    plain = changed(logits_recipe(tmp_path, teacher), "train", lr=1e-12)
    distill(recipe_from(plain, tmp_path), tmp_path / "start")
    found, start = (
        load_file(tmp_path / name / "student" / "model.safetensors") for name in ("run", "start")
    )
    assert {name: t.shape for name, t in found.items()} == {n: t.shape for n, t in start.items()}
    held = json.loads((tmp_path / "run" / "lineage.json").read_text())["results"]["holdout"]
    assert held["end"]["kl"] < 0.9 * held["start"]["kl"]
    for name, tensor in found.items():
        difference = (tensor - start[name]).double()
        if "proj" in name:
            # The difference of a merged adapter has the adapter's rank.
            values_ = torch.linalg.svdvals(difference)
            assert values_[0] > 1e-5, name
            assert values_[2] < 1e-4 * values_[0], name
        else:
            assert difference.abs().max() < 1e-7, name


def test_a_repeat_is_the_same(tmp_path: Path, teacher: Path) -> None:
    recipe = recipe_from(adapted_values(tmp_path, teacher, dropout=0.1), tmp_path)
    distill(recipe, tmp_path / "one")
    distill(recipe, tmp_path / "two")
    assert weights_digest_of(tmp_path / "one") == weights_digest_of(tmp_path / "two")


@pytest.mark.parametrize(
    ("targets", "message"),
    [(["lm_head"], "the loss reads directly"), (["no_such"], "fits no layer")],
)
def test_targets_that_cannot_be_adapted_are_refused(
    tmp_path: Path, teacher: Path, targets: list[str], message: str
) -> None:
    recipe = recipe_from(adapted_values(tmp_path, teacher, targets=targets), tmp_path)
    with pytest.raises(RecipeError, match=message):
        distill(recipe, tmp_path / "run")
