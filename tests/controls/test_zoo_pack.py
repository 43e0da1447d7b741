"""The shipped population: complete, unchanged, and everything in it follows from the scores."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from auditor.controls.members import members_of, shipped_members, split_of
from auditor.controls.pack_calibration import PATTERNS, fit_pattern, score_rows
from auditor.controls.pack_evaluation import evaluate_counts
from auditor.controls.pack_scores import read_scores
from auditor.controls.recipe import load_pack_recipe
from auditor.data import data_dir
from auditor.judge.calibration import read_calibration
from auditor.judge.fusion_file import check_refit
from auditor.judge.population import CaseFacts, outside
from auditor.models.specifier import identify
from auditor.types import Access, ModelRef


@pytest.fixture(scope="module")
def pack() -> Path:
    return data_dir("probes") / "packs" / "zoo"


@pytest.fixture(scope="module")
def rows(pack) -> list[dict]:
    return read_scores(pack / "scores.jsonl")


def test_every_file_is_the_one_that_was_summed(pack):
    listed = {}
    for line in (pack / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        listed[name] = digest
        assert hashlib.sha256((pack / name).read_bytes()).hexdigest() == digest, name
    files = {path.relative_to(pack).as_posix() for path in pack.rglob("*") if path.is_file()}
    assert files - {"SHA256SUMS"} == set(listed)


def test_the_table_holds_the_classes_that_error_rates_need(rows):
    counts = Counter(row["role"] for row in rows)
    shipped = 22  # controls of null roles, which are scored in every case
    assert counts["independent"] + shipped >= 100
    assert counts["sibling"] >= 30
    assert counts["imitation"] >= 60
    assert counts["replication"] >= 100
    assert {row["shape"] for row in rows} == {"llama-words", "gpt2-words", "llama-bytes"}


def test_the_rows_are_the_members_of_the_recipe(pack, rows):
    recipe = load_pack_recipe(pack / "recipe.yaml")
    members = {member.name: member for member in members_of(recipe)}
    shipped = {member.name for member in shipped_members(list(members.values()))}
    assert {row["name"] for row in rows} == set(members) - shipped
    for row in rows:
        member = members[row["name"]]
        assert (row["seed"], row["family"], row["split"]) == (
            member.seed,
            member.family,
            member.split,
        )
    assert all(
        row["split"] == split_of(row["seed"]) for row in rows if row["role"] == "independent"
    )


def test_the_weights_are_small_and_few(pack):
    folders = sorted((pack / "models").iterdir())
    roles = Counter(
        row["role"] for row in json.loads((pack / "controls.json").read_bytes())["controls"]
    )
    assert roles["independent"] >= 19
    assert len(folders) == 1 + sum(roles.values()) + 2
    assert sum(p.stat().st_size for p in (pack / "models").rglob("*") if p.is_file()) < 10e6


def test_the_fusions_follow_from_the_calibration_half(pack, rows):
    calibration = read_calibration(pack / "calibration.json")
    assert [fusion.recipe.names for fusion in calibration.fusions] == list(PATTERNS)
    half = score_rows([row for row in rows if row["split"] == "calibration"])
    for fusion in calibration.fusions:
        check_refit(fusion, [row for row in half if row.has(fusion.recipe.names)])


def test_the_locked_half_changes_no_fusion(pack, rows):
    shipped = read_calibration(pack / "calibration.json").fusions[2]
    changed = [{**row, "scores": {}} if row["split"] == "locked" else row for row in rows]
    assert fit_pattern(changed, PATTERNS[2]).fusion.digest == shipped.digest


def test_the_published_counts_follow_from_the_table(pack, rows):
    published = json.loads((pack / "evaluation.json").read_bytes())
    for name, found in evaluate_counts(rows).items():
        assert published[name] == found, name


def test_no_unlinked_model_of_the_locked_half_was_read_as_linked(rows):
    wrong = [
        row["name"]
        for row in rows
        if row["role"] in ("independent", "sibling")
        and row["reading"] in ("imitation", "replication")
    ]
    assert wrong == []


def facts(**changes) -> CaseFacts:
    tiny = identify("tiny:zoo/reference-00")
    fields = {
        "reference": tiny,
        "suspect": tiny,
        "null_families": 20,
        "suites": ("instructions@1", "continuations@1", "reasoning@1", "ood@1"),
        "measures": ("sample-llr@1",),
    }
    return CaseFacts(**{**fields, **changes})


def test_tiny_models_give_no_likelihood_ratio_for_a_large_one(pack):
    population = read_calibration(pack / "calibration.json").population
    assert outside(population, facts()) == ()
    large = ModelRef(
        spec="hf:org/large",
        access=Access.WEIGHTS,
        parameters=7_000_000_000,
        architecture="LlamaForCausalLM",
        vocabulary=32_000,
        tokenizer_digest="sha256:" + "0" * 64,
    )
    reasons = outside(population, facts(suspect=large))
    assert any("7,000,000,000" in reason for reason in reasons)


@pytest.mark.parametrize("families", [5, 60])
def test_another_number_of_controls_is_outside_the_population(pack, families):
    population = read_calibration(pack / "calibration.json").population
    assert any(
        "families" in reason for reason in outside(population, facts(null_families=families))
    )
