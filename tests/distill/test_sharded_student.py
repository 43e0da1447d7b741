"""The same recipe on one process and on two ranks that part the student (FSDP 2 over gloo)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from distill_world import changed, logits_recipe, make_teacher, sequence_values
from safetensors.torch import load_file
from sharded_runner import DEAD

from auditor.distill.checkpoints import bound_head, newest_complete
from auditor.distill.finished_run import FinishedRun
from auditor.distill.launch import check_launch
from auditor.distill.ledger_check import verify
from auditor.distill.ledger_steps import StepLedger
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.run import distill
from auditor.distill.run_folder import recipe_yaml
from auditor.distill.sharding import load_whole
from auditor.errors import CaseError, InputError, RecipeError

RUNNER = Path(__file__).with_name("sharded_runner.py")
EQUAL = 1e-5
NARROW = {"architecture": "llama", "hidden": 16, "layers": 2, "heads": 2, "max_length": 64}


def launched(folder: Path, jobs: list[dict[str, Any]]) -> "subprocess.CompletedProcess[str]":
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--use_fsdp", "--fsdp_version", "2"),
        *("--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"),
        *("--dynamo_backend", "no", "--main_process_port", "0", str(RUNNER), str(folder)),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment
    )


def job(folder: Path, name: str, values: dict[str, Any], out: str = "", **keys: Any) -> Any:
    (folder / f"{name}.yaml").write_bytes(recipe_yaml(recipe_from(values, folder)))
    return {"recipe": f"{name}.yaml", "out": out or f"{name}-two", **keys}


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_close(found: Any, expected: Any) -> None:
    """Every number at every place is the same to `EQUAL`."""
    if isinstance(expected, dict):
        assert {*found} == {*expected}
        for name in expected:
            assert_close(found[name], expected[name])
    else:
        assert found == pytest.approx(expected, abs=EQUAL)


def assert_equal_runs(two: Path, one: Path) -> None:
    rows = metrics(one)
    assert len(metrics(two)) == len(rows)
    for found, expected in zip(metrics(two), rows, strict=True):
        assert_close(found, expected)
    expected = load_file(one / "student" / "model.safetensors")
    found = load_file(two / "student" / "model.safetensors")
    assert {*found} == {*expected}
    assert max(float((found[n] - expected[n]).abs().max()) for n in expected) < EQUAL
    config = (one / "student" / "config.json").read_bytes()
    assert (two / "student" / "config.json").read_bytes() == config


def recipes(folder: Path, teacher: Path) -> dict[str, dict[str, Any]]:
    """Tied and untied heads, two parts a rank, projections, no teacher."""
    values = logits_recipe(folder, teacher)
    few = changed(values, "train", steps=3)
    plain = {k: v for k, v in few.items() if k not in ("teacher", "permission")}
    gpt2 = {**NARROW, "architecture": "gpt2", "tokenizer": "bytes"}
    return {
        "online": changed(values, "train", steps=4, accumulate=2, eval_every=2),
        "cache": changed(few, "method", cache={"scheme": "pps", "k": 8}),
        "hidden": {
            **changed(few, "method", kind="hidden", hidden={}, attention={}),
            "student": {"init": {**NARROW, "tie": False}},
        },
        "baseline": {**plain, "method": {"kind": "baseline"}, "student": {"init": gpt2}},
    }


def writing_values(folder: Path, teacher: Path) -> dict[str, Any]:
    values = sequence_values(folder, teacher, student={"shrink": {"layers": 2}})
    return {**values, "method": {"kind": "on-policy", "on_policy": {"share": 0.5}}}


def test_two_ranks_that_part_the_student_do_what_one_process_does(tmp_path: Path) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    cases = recipes(tmp_path, teacher)
    for name, values in cases.items():
        distill(recipe_from(values, tmp_path), tmp_path / f"{name}-one")
    jobs = [job(tmp_path, name, values) for name, values in cases.items()]
    done = launched(tmp_path, [job(tmp_path, "writing", writing_values(tmp_path, teacher)), *jobs])
    assert done.returncode == 0, done.stderr[-3000:]

    for name in cases:
        assert_equal_runs(tmp_path / f"{name}-two", tmp_path / f"{name}-one")
    lineage = json.loads((tmp_path / "online-two" / "lineage.json").read_bytes())
    assert lineage["environment"]["ranks"] == 2
    # Rows of 259, 48, 24, ... are halved, to the nearest row.
    shares = [json.loads((tmp_path / f"shares-{rank}.json").read_bytes()) for rank in (0, 1)]
    assert all(0.49 < share < 0.51 for of_rank in shares for share in of_rank)
    assert len(shares[0]) == 2 * len(cases)  # to train, and to score what will be saved

    refused = json.loads((tmp_path / "writing-two.error.json").read_bytes())
    assert refused["type"] == "RecipeError"
    assert "--multi_gpu" in refused["hint"]
    assert not (tmp_path / "writing-two").exists()


def stopped_after(step: int, recipe: Recipe, out: Path) -> None:
    """Distill with one process until it is interrupted after a step."""
    original = StepLedger.on_step_end

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **given: Any) -> None:
        original(self, args, state, control, **given)
        if state.global_step == step:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepLedger, "on_step_end", on_step_end)
        with pytest.raises(KeyboardInterrupt):
            distill(recipe, out)


def assert_bound(out: Path, step: int) -> None:
    found = newest_complete(out / "checkpoints")
    assert found is not None
    assert found[1] == step
    assert bound_head(found[0]) in (out / "ledger.jsonl").read_text()


def test_a_run_goes_on_with_parted_and_with_whole_students(tmp_path: Path) -> None:
    values = changed(
        logits_recipe(tmp_path, make_teacher(tmp_path / "teacher")), "train", save_every=2, steps=6
    )
    recipe = recipe_from(values, tmp_path)
    distill(recipe, tmp_path / "one")
    stopped_after(3, recipe, tmp_path / "whole-then-parted")
    done = launched(tmp_path, [job(tmp_path, "cut", values, "parted-twice", dies=5)])
    assert done.returncode != 0
    assert f"exitcode  : {DEAD}" in done.stderr
    assert_bound(tmp_path / "parted-twice", 4)
    shutil.copytree(tmp_path / "parted-twice", tmp_path / "parted-then-whole")

    outs = ("parted-twice", "whole-then-parted")
    done = launched(tmp_path, [job(tmp_path, "cut", values, out) for out in outs])
    assert done.returncode == 0, done.stderr[-3000:]
    distill(recipe, tmp_path / "parted-then-whole")
    for out in (*outs, "parted-then-whole"):
        assert_equal_runs(tmp_path / out, tmp_path / "one")
        assert all(clause.passed for clause in verify(FinishedRun(tmp_path / out)))


def test_a_checkpoint_of_another_student_is_not_loaded() -> None:
    student = torch.nn.Linear(2, 3)
    with pytest.raises(CaseError, match="bias, extra"):
        load_whole(student, {"weight": torch.ones(3, 2), "extra": torch.ones(1)})
    assert not torch.equal(student.weight, torch.ones(3, 2))


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("FSDP_VERSION", "1", "--fsdp_version 2"),
        ("FSDP_OFFLOAD_PARAMS", "true", "--fsdp_offload_params false"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "True", "--fsdp_activation_checkpointing false"),
    ],
)
def test_options_of_the_launcher_that_are_not_offered_are_refused(
    variable: str, value: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_from(logits_recipe(tmp_path, tmp_path), tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    check_launch(recipe)  # of one process: nothing is parted
    assert os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "true"
    monkeypatch.setattr("auditor.distill.launch.rank_count", lambda: 2)
    check_launch(recipe)
    assert os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "false"
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError) as refused:
        check_launch(recipe)
    assert remedy in str(refused.value.hint)


def test_a_student_that_writes_is_not_parted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setattr("auditor.distill.launch.rank_count", lambda: 2)
    with pytest.raises(RecipeError, match="answers of its own"):
        check_launch(recipe_from(writing_values(tmp_path, tmp_path), tmp_path))
