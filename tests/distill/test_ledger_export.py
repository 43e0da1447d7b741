"""Exports against the official schema of CycloneDX 1.6 and the fields that SLSA requires."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cyclonedx_schema import schema_errors
from distill_world import logits_recipe, sequence_values, write_text

from auditor.canon import file_digest
from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger_export import cyclonedx, slsa
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill


def baseline_values(folder: Path, _: Path) -> dict[str, Any]:
    write_text(folder)
    init = {"architecture": "gpt2", "hidden": 16, "layers": 1, "heads": 2, "tokenizer": "bytes"}
    return {
        "student": {"init": {**init, "max_length": 32}},
        "data": {"text": "text.jsonl", "max_length": 32, "holdout": 0.0},
        "method": {"kind": "baseline"},
        "train": {"steps": 2, "batch_tokens": 64},
    }


def continued_values(folder: Path, teacher: Path) -> dict[str, Any]:
    values = logits_recipe(folder, teacher, student={"from": f"local:{teacher}"})
    values["train"]["steps"] = 2
    return values


@pytest.fixture(
    scope="module",
    params=[baseline_values, sequence_values, continued_values],
    ids=["no teacher", "answers", "from a checkpoint"],
)
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, teacher: Path
) -> FinishedRun:
    folder = tmp_path_factory.mktemp("export")
    distill(recipe_from(request.param(folder, teacher), folder), folder / "run")
    return FinishedRun(folder / "run")


def test_bill_of_materials_follows_the_official_schema(run: FinishedRun) -> None:
    content = json.loads(json.dumps(cyclonedx(run)))
    assert schema_errors(content) == []
    # The schema is not blind: one wrong word is seen.
    content["metadata"]["component"]["type"] = "model"
    assert len(schema_errors(content)) == 1


def test_bill_of_materials_names_student_ancestors_and_data(run: FinishedRun) -> None:
    content, lineage = cyclonedx(run), run.lineage
    student = content["metadata"]["component"]
    assert student["version"] == lineage["student"]["digest"]
    hashes = {part["name"]: part["hashes"][0]["content"] for part in student["components"]}
    found = file_digest(run.folder.student / "model.safetensors")
    assert "sha256:" + hashes["student/model.safetensors"] == found
    ancestors = {part["version"] for part in student["pedigree"]["ancestors"]}
    wanted = [lineage["teacher"], lineage["student"]["started_from"]]
    assert ancestors == {model["digest"] for model in wanted if model is not None}
    data = {part["name"] for part in content["components"] if part["type"] == "data"}
    assert data == set(lineage["data"]["sources"])
    listed = {part["bom-ref"] for part in content["components"]}
    assert set(content["dependencies"][0]["dependsOn"]) == listed
    properties = {item["name"]: item["value"] for item in student["properties"]}
    assert properties["auditor:ledger.head"] == lineage["ledger"]["head"]


def test_references_of_the_bill_are_unique(run: FinishedRun) -> None:
    refs: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            refs.extend([value["bom-ref"]] if "bom-ref" in value else [])
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                collect(item)

    collect(cyclonedx(run))
    assert len(refs) == len(set(refs)) > 3


def test_exports_of_a_run_are_the_same_each_time(run: FinishedRun) -> None:
    again = FinishedRun(run.folder.root)
    assert cyclonedx(run) == cyclonedx(again)
    assert slsa(run) == slsa(again)


def test_statement_has_the_fields_that_in_toto_and_slsa_require(run: FinishedRun) -> None:
    # in-toto attestation framework, Statement v1: _type, subject (each with a digest),
    # predicateType. SLSA v1.0 provenance: buildDefinition.{buildType, externalParameters},
    # runDetails.builder.id; URIs are TypeURIs.
    statement = json.loads(json.dumps(slsa(run)))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert set(statement) == {"_type", "subject", "predicateType", "predicate"}
    definition, details = (statement["predicate"][k] for k in ("buildDefinition", "runDetails"))
    assert set(definition) == {
        "buildType",
        "externalParameters",
        "internalParameters",
        "resolvedDependencies",
    }
    for uri in (definition["buildType"], details["builder"]["id"]):
        assert urlsplit(uri).scheme == "urn"
    for descriptor in [
        *statement["subject"],
        *definition["resolvedDependencies"],
        *details["byproducts"],
    ]:
        assert descriptor["name"]
        assert all(int(value, 16) >= 0 for value in descriptor["digest"].values())


def test_statement_is_about_the_files_of_the_student(run: FinishedRun) -> None:
    statement = slsa(run)
    subjects = {part["name"]: part["digest"]["sha256"] for part in statement["subject"]}
    on_disk = {
        path.relative_to(run.folder.root).as_posix(): file_digest(path)
        for path in run.folder.student.rglob("*")
    }
    assert {name: "sha256:" + value for name, value in subjects.items()} == on_disk
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["recipe"] == run.lineage["recipe"]["content"]
    roles = [part["annotations"]["role"] for part in definition["resolvedDependencies"]]
    started = run.lineage["student"]["started_from"] is not None
    expected = ["teacher"] * (run.lineage["teacher"] is not None) + ["start"] * started + ["data"]
    assert roles == expected
