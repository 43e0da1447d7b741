"""Marks from recipe to verdict: committed before training, found in the student, in nobody else."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from distill_world import changed, make_teacher, sequence_values, write_permission, write_text

from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger_calls import repeat_calls
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.run import distill
from auditor.errors import CaseError, InputError, RecipeError
from auditor.mark_tests import mark_tests
from auditor.progress import Silent
from auditor.types import Message, Probe

STRANGERS = ["tiny:teacher", "tiny:independent", "tiny:sibling"]
PROMPTS = [
    Probe(id=f"p{n}", category="prompt", messages=(Message(role="user", content=f"Wall {n}?"),))
    for n in range(24)
]


def write_key_file(folder: Path) -> str:
    """Write one and the same key: with a new one in each run, a p-value would be another."""
    (folder / "fixed.key").write_bytes(bytes(range(100, 132)))
    return "fixed.key"


def with_canaries(folder: Path, **marks: Any) -> Recipe:
    write_text(folder)
    init = {"architecture": "llama", "hidden": 48, "layers": 2, "heads": 2, "max_length": 96}
    values = {
        "student": {"init": {**init, "tokenizer": "bytes"}},
        "data": {"text": "text.jsonl", "max_length": 96, "packing": True},
        "method": {"kind": "baseline"},
        "train": {"steps": 120, "batch_tokens": 768, "lr": 0.01},
        "marks": {"canaries": {"sets": 4, "siblings": 39, "repetitions": 12}, **marks},
    }
    if "key" not in marks:
        values["marks"]["key"] = write_key_file(folder)
    return recipe_from(values, folder)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("marked")
    distill(with_canaries(folder), folder / "run")
    return folder / "run"


def test_the_student_knows_its_canaries(marked: Path) -> None:
    found = mark_tests(marked, f"local:{marked / 'student'}", [])
    assert found["tests"]["canaries"]["p_value"] <= 0.001
    assert found["tests"]["canaries"]["found"]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_does_not(marked: Path, stranger: str) -> None:
    found = mark_tests(marked, stranger, [])["tests"]["canaries"]
    # Four ranks in 1 .. 40, all of them equally likely: under 0.001 once in a thousand keys.
    assert found["p_value"] > 0.001
    assert not found["found"]


def test_the_commitment_stands_before_the_training(marked: Path) -> None:
    finished = FinishedRun(marked)
    kinds = [record.kind for record in finished.records]
    assert kinds.index("marks") < kinds.index("train_config") < kinds.index("batch")
    committed = finished.bodies("marks")[0]["commitment"]
    assert finished.lineage["data"]["marks"]["commitment"] == committed


def test_a_generated_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    distill(with_canaries(tmp_path, key=None), tmp_path / "run")
    for name in ("marks.key", "marks-reveal.json"):
        assert stat.S_IMODE((tmp_path / "run" / name).stat().st_mode) == 0o600
        assert name not in FinishedRun(tmp_path / "run").lineage["files"]
    key = (tmp_path / "run" / "marks.key").read_bytes().hex()
    for name in ("lineage.json", "ledger.jsonl"):
        assert key not in (tmp_path / "run" / name).read_text()


def test_another_key_is_refused(marked: Path, tmp_path: Path) -> None:
    content = json.loads((marked / "marks-reveal.json").read_text())
    content["key"] = "00" * 32
    (tmp_path / "reveal.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="not the committed one"):
        mark_tests(marked, "tiny:teacher", [], reveal=tmp_path / "reveal.json")


def test_canaries_are_documents_of_the_training_part_alone(tmp_path: Path) -> None:
    lineages = {}
    for name, marks in (("with", {}), ("more", {"canaries": {"sets": 8, "siblings": 39}})):
        folder = tmp_path / name
        folder.mkdir()
        recipe = with_canaries(folder, **marks)
        lineages[name] = distill(recipe, folder / "run")["data"]
    assert lineages["with"]["train_targets"] < lineages["more"]["train_targets"]
    assert lineages["with"]["holdout_targets"] == lineages["more"]["holdout_targets"]
    assert lineages["with"]["documents"] == lineages["more"]["documents"]


def test_a_run_keeps_its_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(range(32)))
    recipe = with_canaries(tmp_path, key="key")
    distill(recipe, tmp_path / "run")
    (tmp_path / "run" / "lineage.json").unlink()
    (tmp_path / "key").write_bytes(bytes(32))
    with pytest.raises(CaseError):
        distill(recipe, tmp_path / "run")


def test_a_student_inherits_the_green_list(tmp_path: Path) -> None:
    # A teacher that writes text: the test reads text again with the teacher's tokenizer.
    student = {"from": "tiny:sibling"}
    values = sequence_values(tmp_path, Path("x"), prompts=160, student=student, max_new_tokens=40)
    write_permission(tmp_path / "permission.json", "tiny:teacher")
    values["teacher"] = "tiny:teacher"
    values["marks"] = {"green_list": {"window": 2, "bias": 4.0}, "key": write_key_file(tmp_path)}
    values["data"]["max_length"] = 96
    values = changed(values, "train", steps=60, batch_tokens=2048, lr=0.003)
    distill(recipe_from(values, tmp_path), tmp_path / "run")
    own = mark_tests(tmp_path / "run", f"local:{tmp_path / 'run/student'}", PROMPTS)
    assert own["tests"]["green_list"]["found"], own
    again = repeat_calls(FinishedRun(tmp_path / "run"), recipe_from(values, tmp_path), 2, Silent())
    assert again.passed, again
    for stranger in ("tiny:independent", "tiny:sibling"):
        found = mark_tests(tmp_path / "run", stranger, PROMPTS)
        assert not found["tests"]["green_list"]["found"], found


def test_marks_that_cannot_be_passed_on_are_refused(tmp_path: Path) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    values = sequence_values(tmp_path, teacher)
    values["method"] = {"kind": "logits"}
    values["student"] = {"shrink": {"layers": 2}}
    with pytest.raises(RecipeError, match=r"set method\.alpha above 0"):
        recipe_from({**values, "marks": {"canaries": 20}}, tmp_path)
    with pytest.raises(RecipeError, match="give at least one of"):
        recipe_from({**values, "marks": {}}, tmp_path)


def test_a_run_without_marks_says_so(tmp_path: Path) -> None:
    write_text(tmp_path)
    values = with_canaries(tmp_path).as_json()
    del values["marks"]
    distill(recipe_from(values, tmp_path), tmp_path / "run")
    with pytest.raises(InputError, match="committed to no marks"):
        mark_tests(tmp_path / "run", "tiny:teacher", [])
