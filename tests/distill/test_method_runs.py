"""On-policy and inner-state methods from recipe to student."""

import json
from pathlib import Path
from typing import Any

import pytest
from distill_world import (
    changed,
    logits_recipe,
    make_teacher,
    sequence_values,
    weights_digest_of,
)
from safetensors import safe_open

from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.run import distill
from auditor.errors import RecipeError


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


def own_answers(folder: Path, teacher: Path, **on_policy: Any) -> Recipe:
    values = sequence_values(folder, teacher, student={"shrink": {"layers": 2}})
    method = {"kind": "on-policy", "on_policy": {"max_new_tokens": 8, **on_policy}}
    values = changed({**values, "method": method}, "train", steps=4, save_every=2)
    return recipe_from(values, folder)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("loss", ["full", "policy-gradient"])
def test_a_student_learns_from_its_own_answers(tmp_path: Path, teacher: Path, loss: str) -> None:
    lineage = distill(own_answers(tmp_path, teacher, loss=loss), tmp_path / "run")
    drawn = rows(tmp_path / "run" / "rollouts.jsonl")
    steps = [row for row in rows(tmp_path / "run" / "metrics.jsonl") if "loss" in row]
    assert {row["step"] for row in drawn} == {1, 2, 3, 4}
    assert all(1 <= len(row["token_ids"]) <= 8 for row in drawn)
    # The loss is divided by what was drawn, and the dose counts it.
    assert steps[-1]["tokens"] == sum(len(row["token_ids"]) for row in drawn)
    assert lineage["dose"]["gradient_tokens"] == steps[-1]["tokens"]
    assert lineage["dose"]["share"] == 1.0
    assert not (tmp_path / "run" / "generations.jsonl").exists()
    assert lineage["method"]["divergence"] == "reverse-kl"


def test_some_steps_take_the_answers_of_the_teacher(tmp_path: Path, teacher: Path) -> None:
    distill(own_answers(tmp_path, teacher, share=0.5), tmp_path / "run")
    drawn = {row["step"] for row in rows(tmp_path / "run" / "rollouts.jsonl")}
    assert 0 < len(drawn) < 4
    assert (tmp_path / "run" / "generations.jsonl").exists()


def test_a_repeat_draws_and_learns_the_same(tmp_path: Path, teacher: Path) -> None:
    for name in ("one", "two"):
        distill(own_answers(tmp_path, teacher), tmp_path / name)
    assert weights_digest_of(tmp_path / "one") == weights_digest_of(tmp_path / "two")
    files = [(tmp_path / name / "rollouts.jsonl").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


MATCHES: list[dict[str, Any]] = [
    {"hidden": {}},
    {"hidden": {"distance": "mse", "pairs": [[1, 3]]}},
    {"attention": {"attention": False}},
    {"attention": {}, "hidden": {"weight": 0.1}},
]


@pytest.mark.parametrize("kind", ["logits", "hidden"])
@pytest.mark.parametrize("match", MATCHES)
def test_inner_states_are_matched(
    tmp_path: Path, teacher: Path, kind: str, match: dict[str, Any]
) -> None:
    values = {**logits_recipe(tmp_path, teacher), "method": {"kind": kind, **match}}
    distill(recipe_from(values, tmp_path), tmp_path / "run")
    found = [row["loss"] for row in rows(tmp_path / "run" / "metrics.jsonl") if "loss" in row]
    assert found[-1] < found[0]
    with safe_open(tmp_path / "run" / "student" / "model.safetensors", framework="pt") as file:
        assert not [name for name in file.keys() if "projection" in name]  # noqa: SIM118


def test_a_match_changes_what_is_learned(tmp_path: Path, teacher: Path) -> None:
    for name, method in (("with", {"hidden": {}}), ("without", {})):
        values = {**logits_recipe(tmp_path, teacher), "method": {"kind": "logits", **method}}
        distill(recipe_from(values, tmp_path), tmp_path / name)
    assert weights_digest_of(tmp_path / "with") != weights_digest_of(tmp_path / "without")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"kind": "on-policy"}, "give data.prompts"),
        ({"kind": "logits", "on_policy": {}}, "for method on-policy"),
        ({"kind": "hidden"}, "give method.hidden or method.attention"),
        ({"kind": "on-policy", "hidden": {}}, "reads no inner states"),
        ({"kind": "logits", "hidden": {}, "cache": {"scheme": "dense"}}, "no inner states"),
        ({"kind": "on-policy", "on_policy": {"share": 2}}, "share"),
        ({"kind": "on-policy", "cache": {"scheme": "dense"}}, "no logits that method.cache"),
        ({"kind": "logits", "attention": {"relations": ["colour"]}}, "relations"),
    ],
)
def test_a_method_that_makes_no_sense_is_refused(
    tmp_path: Path, teacher: Path, method: dict[str, Any], message: str
) -> None:
    values = {**logits_recipe(tmp_path, teacher), "method": method}
    if "on-policy" in method["kind"] and message != "give data.prompts":
        (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n')
        values["data"] = {"prompts": "p.jsonl"}
    with pytest.raises(RecipeError, match=message):
        recipe_from(values, tmp_path)


def test_a_layer_that_is_not_there_is_named(tmp_path: Path, teacher: Path) -> None:
    method = {"kind": "logits", "hidden": {"pairs": [[1, 9]]}}
    values = {**logits_recipe(tmp_path, teacher), "method": method}
    with pytest.raises(Exception, match=r"no pair of layers \(1, 9\)"):
        distill(recipe_from(values, tmp_path), tmp_path / "run")
