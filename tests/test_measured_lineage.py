"""Declared against measured lineage: the rules one by one, and audits of real runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditor.cli.main import run as command
from auditor.data import data_dir
from auditor.demo import _STUDENT
from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger_check import verify
from auditor.distill.recipe import load_recipe, recipe_from
from auditor.distill.run import distill
from auditor.errors import CaseError
from auditor.measured_lineage import declaration, judged, measure_lineage

TINY = data_dir("probes") / "packs" / "tiny"
PERMISSION = data_dir("probes") / "packs" / "zoo" / "permission.json"


def declared(**changes: Any) -> dict[str, Any]:
    teacher = {"spec": "local:/teacher", "digest": "sha256:" + "1" * 64}
    found = {"teacher": teacher, "method": "logits", "via": "logits", "dose": 1.0, "weights": False}
    return {**found, **changes}


def reading(word: str, **changes: Any) -> dict[str, Any]:
    return {"reading": word, "via": None, "basis": "so it is", "power": None, **changes}


SEEN = {"dose": 0.25, "power": 0.8}


@pytest.mark.parametrize(
    ("declaration", "found", "word"),
    [
        (declared(), reading("imitation", via="logits"), "consistent"),
        (declared(), reading("imitation", via="text"), "consistent"),
        (declared(via="text"), reading("imitation", via="text"), "consistent"),
        (declared(via="text"), reading("imitation", via="logits"), "contradicted"),
        (declared(dose=0.0), reading("imitation"), "contradicted"),
        (declared(dose=0.0), reading("no-link", power=SEEN), "consistent"),
        (declared(), reading("no-link", power=SEEN), "contradicted"),
        (declared(dose=0.25), reading("no-link", power=SEEN), "contradicted"),
        (declared(dose=0.2), reading("no-link", power=SEEN), "not measurable"),
        (declared(), reading("no-link"), "not measurable"),
        (declared(), reading("inconclusive"), "not measurable"),
        (declared(), reading("replication"), "contradicted"),
        (declared(weights=True), reading("replication"), "consistent"),
        (declared(weights=True, dose=0.0), reading("imitation"), "consistent"),
    ],
)
def test_measurement_is_held_against_the_declaration(
    declaration: dict[str, Any], found: dict[str, Any], word: str
) -> None:
    outcome = judged(declaration, found)
    assert outcome.word == word
    assert outcome.reason


def test_weights_are_declared_by_shrinking_and_by_starting_from_the_teacher() -> None:
    teacher = {"spec": "local:/t", "digest": "sha256:a"}
    lineage: dict[str, Any] = {
        "teacher": teacher,
        "student": {"origin": "init", "started_from": None},
        "method": {"kind": "hidden"},
        "dose": {"share": 0.0},
    }
    assert declaration(lineage)["weights"] is False
    assert declaration(lineage)["via"] is None
    lineage["student"] = {"origin": "from", "started_from": {"digest": "sha256:b"}}
    assert declaration(lineage)["weights"] is False
    lineage["student"] = {"origin": "from", "started_from": {"digest": "sha256:a"}}
    assert declaration(lineage)["weights"] is True
    lineage["student"] = {"origin": "shrink", "started_from": None}
    assert declaration(lineage)["weights"] is True


def recipe_values(folder: Path, teacher: str | None) -> dict[str, Any]:
    (folder / "text.txt").write_text("\n\n".join(f"the cat sat on wall {n}" for n in range(40)))
    for name in ("permission.json", "LICENSE"):
        shutil.copy(PERMISSION.with_name(name), folder / name)
    init = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "max_length": 320}
    values: dict[str, Any] = {
        "student": {"init": {**init, "tokenizer": teacher or "bytes"}},
        "data": {"text": "text.txt", "max_length": 32, "holdout": 0.1},
        "method": {"kind": "baseline"},
        "train": {"steps": 2, "batch_tokens": 128},
    }
    if teacher is not None:
        values.update(teacher=teacher, permission="permission.json", method={"kind": "logits"})
    return values


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps from a shipped model's logits; its copy under a path has no shipped controls."""
    folder = tmp_path_factory.mktemp("measured")
    values = recipe_values(folder, "tiny:zoo/reference-00")
    distill(recipe_from(values, folder), folder / "run")
    return folder / "run"


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_without_controls_nothing_can_be_measured(copied: Path) -> None:
    place = f"local:{data_dir('probes') / 'packs' / 'zoo' / 'models' / 'reference-00'}"
    found = measure_lineage(copied, teacher=place, probes=4)
    assert found["outcome"] == "not measurable"
    assert found["reason"] == "the audit is inconclusive: uncontrolled similarity"
    assert found["declared"]["dose"] == 1.0
    assert found["measured"]["reading"] == "inconclusive"
    kept = json.loads((copied / "measured-lineage.json").read_bytes())
    assert kept == found
    assert (copied / found["case"] / "data" / "report.html").is_file()
    more = measure_lineage(copied, teacher=place, probes=5)
    assert more["case"] != found["case"]
    # What was added leaves the run whole.
    assert [c.name for c in verify(FinishedRun(copied)) if c.passed is False] == []


def test_run_without_a_teacher_has_nothing_to_be_held_against(tmp_path: Path) -> None:
    distill(recipe_from(recipe_values(tmp_path, None), tmp_path), tmp_path / "run")
    found = measure_lineage(tmp_path / "run")
    assert (found["outcome"], found["reason"]) == (
        "not measurable",
        "the run declares no teacher",
    )
    assert not (tmp_path / "run" / "audit").exists()


def test_other_teacher_and_changed_student_are_refused(copied: Path) -> None:
    with pytest.raises(CaseError, match="tiny:teacher is not the model that lineage"):
        measure_lineage(copied, teacher="tiny:teacher")
    weights = copied / "student" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(CaseError, match="its weights differ"):
        measure_lineage(copied)
    assert not (copied / "measured-lineage.json").exists()


@pytest.mark.slow
def test_student_of_a_shipped_teacher_reads_as_it_declares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text(_STUDENT)
    for name in ("permission.json", "LICENSE"):
        shutil.copy(PERMISSION.with_name(name), tmp_path / name)
    assert yaml.safe_load(_STUDENT)["method"]["kind"] == "logits"
    distill(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "run")
    assert command(["lineage", "measure", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["outcome"] == "consistent"
    assert found["measured"]["reading"] == "imitation"
    # The unembedding of a student this small cannot tell; text would be a wrong answer.
    assert found["measured"]["via"] in ("logits", None)
    assert "consistent" in (tmp_path / "run" / "report.html").read_text()
