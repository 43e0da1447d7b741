"""Inherited errors of real runs on tiny models: copies, what is continued, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from auditor.cli.lineage_errors import of_all
from auditor.cli.main import run as command
from auditor.data import data_dir
from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger_check import verify
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.distill.untouched import untouched_model
from auditor.errors import CaseError, InputError
from auditor.inherited_errors import Questions, inherited_errors
from auditor.models.specifier import open_model
from auditor.models.tiny import tiny_folder

PERMISSION = data_dir("probes") / "packs" / "zoo" / "permission.json"
TEACHER = "tiny:zoo/reference-00"
FEW = Questions(probes=36, max_new_tokens=12)
INIT = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "max_length": 320}


def distilled(folder: Path, student: dict[str, Any], **train: Any) -> Path:
    """The folder of a run of two steps on the logits of a model that ships."""
    (folder / "text.txt").write_text("\n\n".join(f"the cat sat on wall {n}" for n in range(40)))
    for name in ("permission.json", "LICENSE"):
        shutil.copy(PERMISSION.with_name(name), folder / name)
    values = {
        "teacher": TEACHER,
        "permission": "permission.json",
        "student": student,
        "data": {"text": "text.txt", "max_length": 32},
        "method": {"kind": "logits"},
        "train": {"steps": 2, "batch_tokens": 128, **train},
    }
    distill(recipe_from(values, folder), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    init = {**INIT, "tokenizer": TEACHER}
    return distilled(tmp_path_factory.mktemp("errors"), {"init": init})


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_copy_of_the_teacher_repeats_every_error_and_so_did_the_untouched_one(
    tmp_path: Path,
) -> None:
    # All its layers and a rate of 1e-12: student, untouched student and teacher say the same.
    config = json.loads((tiny_folder("zoo/reference-00") / "config.json").read_text())
    layers = config.get("num_hidden_layers") or config["n_layer"]
    run = distilled(tmp_path, {"shrink": {"layers": layers}}, lr=1e-12)
    found = inherited_errors(run, FEW)
    assert found["errors"] > 0
    for name in ("student", "untouched"):
        assert found["repeated"][name]["share"] == 1.0
    # The same answers as before training were not learned from anybody.
    assert (found["p_untouched"], found["better"]) == (1.0, False)


def test_tables_follow_from_the_answers_that_are_kept(copied: Path) -> None:
    found = inherited_errors(copied, FEW)
    assert json.loads((copied / "inherited-errors.json").read_bytes()) == found
    schema = json.loads((data_dir("reports") / "schema" / "inherited-errors-1.json").read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(found)] == []
    assert found["probes"] == len(found["by_probe"]) == 36
    wrong = [
        row["answers"]
        for row in found["by_probe"]
        if row["answers"]["teacher"] not in (None, row["expected"])
    ]
    assert found["errors"] == len(wrong) > 0
    same = sum(answers["student"] == answers["teacher"] for answers in wrong)
    assert found["repeated"]["student"]["count"] == same
    assert sum(part["probes"] for part in found["categories"]) == 36
    # What was added leaves the run whole.
    assert [c.name for c in verify(FinishedRun(copied)) if c.passed is False] == []


def test_untouched_student_is_the_one_that_training_began_with(run: Path, tmp_path: Path) -> None:
    still = distilled(tmp_path, {"init": {**INIT, "tokenizer": TEACHER}}, lr=1e-12)
    before = untouched_model(FinishedRun(run), TEACHER)
    after = dict(open_model(f"local:{still / 'student'}").tensors())
    for name, tensor in before.tensors():
        assert abs(tensor - after[name]).max() < 1e-6, name


def test_answers_that_were_cut_off_are_continued(copied: Path) -> None:
    found = inherited_errors(copied, FEW)
    kept = copied / found["answers"] / "student.jsonl"
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) - 40])  # a kill in the last group
    assert inherited_errors(copied, FEW) == found
    assert kept.read_bytes() == whole


def test_edited_answers_are_refused(copied: Path) -> None:
    kept = copied / inherited_errors(copied, FEW)["answers"] / "student.jsonl"
    kept.write_bytes(kept.read_bytes().replace(b'"text":"', b'"text":"7', 1))
    with pytest.raises(CaseError, match="not the line that was written here"):
        inherited_errors(copied, FEW)


def test_what_cannot_be_asked_is_refused_with_the_remedy(copied: Path) -> None:
    with pytest.raises(InputError, match="no probe of ood has a known answer"):
        inherited_errors(copied, Questions(suites=("ood",)))
    with pytest.raises(CaseError, match="tiny:teacher is not the model that lineage"):
        inherited_errors(copied, FEW, teacher="tiny:teacher")
    assert not (copied / "inherited-errors.json").exists()


def test_command_writes_it_into_the_report_and_show_tells_it(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["lineage", "errors", str(copied), "--probes", "36", "--max-new-tokens", "12"]
    assert command([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    page = (copied / "report.html").read_text()
    assert "Wrong answers that the student repeats" in page
    assert command(["lineage", "show", str(copied), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["inherited_errors"]
    assert shown["errors"] == found["errors"]
    assert shown["repeated"] == found["repeated"]


def test_that_a_student_is_better_is_printed_with_its_p_values():
    kept = dict.fromkeys(("probes", "right", "learned", "errors", "repeated"), 1)
    found = {**kept, "better": True, "p_shuffled": 0.03125, "p_untouched": 0.25}
    assert of_all(found)["better"] == (
        "yes, with exact one-sided p 0.031 against its shuffled answers and 0.25 against the "
        "untouched student"
    )
    nobody = {**kept, "better": None, "p_shuffled": None, "p_untouched": None}
    assert of_all(nobody)["better"] == "not known: the teacher makes no error"
