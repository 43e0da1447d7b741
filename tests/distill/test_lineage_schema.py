"""lineage.json of each kind of run follows the published schema."""

import json
from pathlib import Path
from typing import Any

import pytest
from cross_world import aligned_values
from distill_world import changed, logits_recipe, make_teacher, sequence_values
from embedding_world import embedding_values, make_encoder
from jsonschema import Draft202012Validator

from auditor.data import data_dir
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill


def assert_follows_schema(lineage: dict[str, Any]) -> None:
    schema = json.loads((data_dir("reports") / "schema" / "lineage-1.json").read_text())
    found = [
        f"{list(error.absolute_path)}: {error.message}"
        for error in Draft202012Validator(schema).iter_errors(lineage)
    ]
    assert not found, found


@pytest.mark.parametrize("kind", ["sequence", "logits", "cache", "aligned", "embedding"])
def test_a_lineage_follows_the_published_schema(tmp_path: Path, kind: str) -> None:
    values = _values(tmp_path, kind)
    lineage = distill(recipe_from(values, tmp_path), tmp_path / "run")
    assert lineage["method"]["kind"] == values["method"]["kind"]
    assert lineage["environment"]["strategy"] == "single"
    assert_follows_schema(lineage)


def test_a_permission_that_was_overridden_follows_it_too(tmp_path: Path) -> None:
    values = _values(tmp_path, "logits")
    path = tmp_path / values["permission"]
    permission = json.loads(path.read_text())
    path.write_text(json.dumps({**permission, "verdict": "unknown"}))
    recipe = recipe_from(values, tmp_path)
    lineage = distill(recipe, tmp_path / "run", accept_unknown="asked twice, no answer")
    assert lineage["permission"]["override"] == "asked twice, no answer"
    assert_follows_schema(lineage)


@pytest.mark.parametrize(("ranks", "strategy"), [(1, "fsdp2"), (2, "single"), (2, "tp")])
def test_a_strategy_that_does_not_fit_the_ranks_is_refused(tmp_path, ranks, strategy) -> None:
    values = _values(tmp_path, "sequence")
    lineage = distill(recipe_from(values, tmp_path), tmp_path / "run")
    lineage["environment"].update(ranks=ranks, strategy=strategy)
    with pytest.raises(AssertionError, match="strategy"):
        assert_follows_schema(lineage)


def _values(folder: Path, kind: str) -> dict[str, Any]:
    if kind == "aligned":
        return aligned_values(folder, method={"alignment": "span-kl"})
    if kind == "embedding":
        return embedding_values(folder, make_encoder(folder / "encoder"))
    teacher = make_teacher(folder / "teacher")
    if kind == "sequence":
        return sequence_values(folder, teacher)
    values = logits_recipe(folder, teacher)
    return changed(values, "method", cache={"scheme": "pps", "k": 8}) if kind == "cache" else values
