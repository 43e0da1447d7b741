"""A run beside its baseline: what is refused, and shares that are known beforehand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distill_world import WORDS, changed, write_permission, write_text

from auditor.distill.baseline import check_baseline, compare_baseline
from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger_check import verify
from auditor.distill.metrics import MetricsLog
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.errors import BaselineError, CaseError, RecipeError

INIT = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "max_length": 64}


def write_categories(folder: Path) -> None:
    """Documents of two categories, with words of their own, beside some without a category."""
    rng = np.random.RandomState(3)
    rows = []
    for number in range(90):
        half = WORDS[:8] if number % 3 else WORDS[8:]
        row = {"text": f"{' '.join(rng.choice(half, 9))} {number}."}
        if number % 3 < 2:
            row["category"] = "barn" if number % 3 else "hill"
        rows.append(json.dumps(row))
    (folder / "text.jsonl").write_text("\n".join(rows) + "\n")


def values(teacher: Path | None, **method: Any) -> dict[str, Any]:
    recipe: dict[str, Any] = {
        "student": {"init": {**INIT, "tokenizer": "bytes"}},
        "data": {"text": "text.jsonl", "max_length": 32, "holdout": 0.3, "holdout_tokens": 600},
        "method": {"kind": "baseline", **method},
        "train": {"steps": 6, "batch_tokens": 256, "lr": 0.01},
    }
    if teacher is not None:
        recipe.update({"teacher": f"local:{teacher}", "permission": "permission.json"})
    return recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Path:
    """A folder with data, permission, a baseline run and a run that read only text."""
    folder = tmp_path_factory.mktemp("baseline")
    write_categories(folder)
    write_permission(folder / "permission.json", f"local:{teacher}")
    distill(recipe_from(values(None), folder), folder / "alone")
    distill(recipe_from(values(teacher, kind="logits", alpha=1.0), folder), folder / "text-only")
    return folder


@pytest.fixture(scope="module")
def compared(world: Path, teacher: Path) -> dict[str, Any]:
    recipe = recipe_from(values(teacher, kind="logits", alpha=1.0), world)
    return compare_baseline(recipe, world / "text-only", world / "alone")


def board(run: Path) -> dict[str, Any]:
    return json.loads((run / "fidelity.json").read_bytes())


def test_student_that_the_teacher_taught_nothing_ties_with_its_baseline(
    world: Path, compared: dict[str, Any]
) -> None:
    # alpha 1: the divergence weighs nothing, so both are the same student, bit for bit.
    scores = board(world / "text-only")["students"]["student"]
    assert compared["scores"] == scores
    for part in (compared, *compared["categories"]):
        for found in part["better"].values():
            assert (found["better"], found["sequences"]) == (False, 0)


def test_random_teacher_has_no_gap_to_recover(compared: dict[str, Any]) -> None:
    # The teacher of the tests is random: it predicts the text worse than a student of the text.
    assert compared["recovered"]["value"] is None
    assert "no gap to recover" in compared["recovered"]["reason"]


def test_teacher_that_knows_the_text_gives_a_share_and_its_copy_recovers_all(
    tmp_path: Path, world: Path
) -> None:
    # The teacher: a student of the text, trained for longer. Its copy, not trained further in
    # effect, has its losses: the share is 1 but for the last steps at a rate of 1e-12.
    write_categories(tmp_path)
    longer = changed(values(None), "train", steps=60)
    distill(recipe_from(longer, tmp_path), tmp_path / "teacher")
    spec = tmp_path / "teacher" / "student"
    write_permission(tmp_path / "permission.json", f"local:{spec}")
    start = {"student": {"from": f"local:{spec}"}}
    slow = changed(values(spec, kind="logits") | start, "train", lr=1e-12)
    distill(recipe_from(slow, tmp_path), tmp_path / "copy")
    scores = board(tmp_path / "copy")
    assert scores["students"]["student"]["loss"] == pytest.approx(
        scores["teacher"]["loss"], rel=1e-6
    )
    assert scores["students"]["student"]["inherited"] == 1.0
    taught = recipe_from(values(spec, kind="logits"), tmp_path)
    distill(taught, tmp_path / "taught")
    found = compare_baseline(taught, tmp_path / "taught", world / "alone")
    mine = board(tmp_path / "taught")
    teacher_loss = mine["teacher"]["loss"]
    own, alone = mine["students"]["student"]["loss"], found["scores"]["loss"]
    # The definition, from the means that the files state.
    assert found["recovered"]["value"] == pytest.approx((alone - own) / (alone - teacher_loss))
    low, high = found["recovered"]["interval"]
    assert low <= found["recovered"]["value"] <= high


def test_categories_are_those_of_the_rows_and_share_out_the_targets(world: Path) -> None:
    found = board(world / "alone")
    assert [part["category"] for part in found["categories"]] == ["barn", "hill", "text"]
    assert sum(part["targets"] for part in found["categories"]) == found["targets"]
    assert found["teacher"] is None
    assert found["students"]["student"]["kl"] is None


def test_metrics_end_with_the_null_students(world: Path) -> None:
    run = world / "text-only"
    rows = MetricsLog(run / "metrics.jsonl").rows()
    assert [row["step"] for row in rows if "null_students" in row] == [6]
    nulls, students = rows[-1]["null_students"], board(run)["students"]
    start = next(row["holdout"] for row in rows if "holdout" in row)
    assert nulls["untouched"]["loss"] == pytest.approx(start["loss"], rel=1e-6)
    assert nulls["empty"]["loss"] == pytest.approx(np.log(259))
    assert nulls["shuffled"]["kl"] == students["shuffled"]["kl"]


def test_added_files_leave_the_run_intact(world: Path, compared: dict[str, Any]) -> None:
    assert compared["categories"]
    assert (world / "text-only" / "baseline.json").is_file()
    clauses = {clause.name: clause.passed for clause in verify(FinishedRun(world / "text-only"))}
    assert clauses["files"] is True
    (world / "text-only" / "other.json").write_text("{}")
    clauses = {clause.name: clause.passed for clause in verify(FinishedRun(world / "text-only"))}
    (world / "text-only" / "other.json").unlink()
    assert clauses["files"] is False


@pytest.mark.parametrize(
    ("section", "keys", "named"),
    [
        ("train", {"steps": 7}, "differs in train.steps"),
        ("train", {"seed": 1}, "differs in train.seed"),
        ("data", {"holdout": 0.2}, "differs in data.holdout"),
        ("student", {"init": {**INIT, "tokenizer": "bytes", "layers": 2}}, "student.init.layers"),
    ],
)
def test_other_run_is_refused_with_what_differs(
    world: Path, teacher: Path, section: str, keys: dict[str, Any], named: str
) -> None:
    recipe = recipe_from(changed(values(teacher, kind="logits"), section, **keys), world)
    with pytest.raises(BaselineError, match=named):
        check_baseline(recipe, world / "alone")


def test_taught_run_is_no_baseline(world: Path, teacher: Path) -> None:
    recipe = recipe_from(values(teacher, kind="logits"), world)
    with pytest.raises(BaselineError, match=r"differs in method.kind \(logits\)"):
        check_baseline(recipe, world / "text-only")


def test_shrunk_student_has_no_baseline(world: Path, teacher: Path) -> None:
    recipe = recipe_from(
        {**values(teacher, kind="logits"), "student": {"shrink": {"layers": 2}}}, world
    )
    with pytest.raises(BaselineError, match=r"student\.shrink\.layers"):
        check_baseline(recipe, world / "alone")


def test_keys_that_change_no_weights_may_differ(world: Path, teacher: Path) -> None:
    pace = changed(values(teacher, kind="logits"), "train", eval_every=2, accumulate=2)
    assert check_baseline(recipe_from(pace, world), world / "alone") is None


def test_other_texts_are_refused(tmp_path: Path, world: Path, teacher: Path) -> None:
    write_text(tmp_path)
    write_permission(tmp_path / "permission.json", f"local:{teacher}")
    recipe = recipe_from(values(teacher, kind="logits"), tmp_path)
    with pytest.raises(BaselineError, match="what the data files hold"):
        check_baseline(recipe, world / "alone")


def test_changed_student_and_unfinished_run_are_refused(
    tmp_path: Path, world: Path, teacher: Path
) -> None:
    recipe = recipe_from(values(teacher, kind="logits", alpha=1.0), world)
    with pytest.raises(CaseError, match=r"lineage\.json"):
        check_baseline(recipe, tmp_path)
    with pytest.raises(CaseError, match="is not finished"):
        compare_baseline(recipe, tmp_path / "nothing", world / "alone")
    other = tmp_path / "other"
    (other / "student").mkdir(parents=True)
    for path in (world / "alone").rglob("*"):
        if path.is_file():
            target = other / path.relative_to(world / "alone")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    weights = other / "student" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(CaseError, match="is not the student that"):
        compare_baseline(recipe, world / "text-only", other)


def test_category_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "a stone wall", "category": 3}\n')
    with pytest.raises(RecipeError, match="line 1: category is not text: 3"):
        distill(recipe_from(values(None), tmp_path), tmp_path / "run")
