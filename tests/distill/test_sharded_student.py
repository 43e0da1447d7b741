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
from jsonschema import Draft202012Validator
from safetensors.torch import load_file
from sharded_runner import DEAD

from auditor.data import data_dir
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
pytestmark = pytest.mark.timeout(600)  # two launches of two ranks, on one core
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


def assert_follows_schema(lineage: dict) -> None:
    schema = json.loads((data_dir("reports") / "schema" / "lineage-1.json").read_bytes())
    assert list(Draft202012Validator(schema).iter_errors(lineage)) == []


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
    """Tied and untied heads, two parts a rank, projections, adapters of one row, no teacher."""
    values = logits_recipe(folder, teacher)
    few = changed(values, "train", steps=3)
    plain = {k: v for k, v in few.items() if k not in ("teacher", "permission")}
    gpt2 = {**NARROW, "architecture": "gpt2", "tokenizer": "bytes"}
    return {
        "online": changed(values, "train", steps=6, accumulate=2, eval_every=3, save_every=2),
        "cache": changed(few, "method", cache={"scheme": "pps", "k": 8}),
        "hidden": {
            **changed(few, "method", kind="hidden", hidden={}, attention={}),
            "student": {"init": {**NARROW, "tie": False}},
        },
        "lora": changed(few, "train", lora={"rank": 1}),
        "baseline": {**plain, "method": {"kind": "baseline"}, "student": {"init": gpt2}},
    }


def writing_values(folder: Path, teacher: Path) -> dict[str, Any]:
    values = sequence_values(folder, teacher, student={"shrink": {"layers": 2}})
    return {**values, "method": {"kind": "on-policy", "on_policy": {"share": 0.5}}}


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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs NAME-one, NAME-two and NAME-dead, whose last rank died after step 5.

    Of the recipe ``online`` also whole-then-parted and parted-twice, begun and continued.
    """
    folder = tmp_path_factory.mktemp("world")
    teacher = make_teacher(folder / "teacher")
    cases = recipes(folder, teacher)
    for name, values in cases.items():
        distill(recipe_from(values, folder), folder / f"{name}-one")
    stopped_after(3, recipe_from(cases["online"], folder), folder / "whole-then-parted")

    died = launched(folder, [job(folder, "online", cases["online"], "online-dead", dies=5)])
    assert died.returncode != 0
    assert f"exitcode  : {DEAD}" in died.stderr
    shutil.copytree(folder / "online-dead", folder / "parted-twice")
    begun = [
        job(folder, "online", cases["online"], out) for out in ("whole-then-parted", "parted-twice")
    ]
    jobs = [job(folder, name, values) for name, values in cases.items()]
    refused = job(folder, "writing", writing_values(folder, teacher))
    jobs[-1]["command"] = True
    done = launched(folder, [refused, *jobs, *begun])
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


@pytest.mark.parametrize("name", ["online", "cache", "hidden", "lora", "baseline"])
def test_two_ranks_that_part_the_student_do_what_one_process_does(world: Path, name: str) -> None:
    assert_equal_runs(world / f"{name}-two", world / f"{name}-one")
    lineage = json.loads((world / f"{name}-two" / "lineage.json").read_bytes())
    assert (lineage["environment"]["ranks"], lineage["environment"]["strategy"]) == (2, "fsdp2")
    assert_follows_schema(lineage)
    assert all(clause.passed for clause in verify(FinishedRun(world / f"{name}-two")))


def test_each_rank_keeps_half_of_the_student(world: Path) -> None:
    # To train and to score, 5 + 2 runs. Rows of 259, 48, 24, ... are halved, to the nearest
    # row; an adapter's one row is the first rank's.
    shares = [json.loads((world / f"shares-{rank}.json").read_bytes()) for rank in (0, 1)]
    assert [len(of_rank) for of_rank in shares] == [14, 14]
    assert all(0.48 < share < 0.52 for of_rank in shares for share in of_rank)


def test_one_rank_writes_and_prints_the_outcome_of_the_command(world: Path) -> None:
    report = world / "baseline-two" / "report.html"
    assert report.is_file()
    assert (world / "stdout.txt").read_text().count(str(report)) == 1


def test_a_student_that_writes_is_refused_before_anything_is_written(world: Path) -> None:
    refused = json.loads((world / "writing-two.error.json").read_bytes())
    assert refused["type"] == "RecipeError"
    assert "--multi_gpu" in refused["hint"]
    assert not (world / "writing-two").exists()


def test_the_checkpoint_that_a_dead_rank_leaves_is_whole_and_bound(world: Path) -> None:
    found = newest_complete(world / "online-dead" / "checkpoints")
    assert found is not None
    assert found[1] == 4
    assert bound_head(found[0]) in (world / "online-dead" / "ledger.jsonl").read_text()


def test_a_run_goes_on_with_parted_and_with_whole_students(world: Path) -> None:
    shutil.copytree(world / "online-dead", world / "parted-then-whole")
    distill(
        recipe_from(recipes(world, world / "teacher")["online"], world), world / "parted-then-whole"
    )
    for out in ("parted-twice", "whole-then-parted", "parted-then-whole"):
        assert_equal_runs(world / out, world / "online-one")
        assert all(clause.passed for clause in verify(FinishedRun(world / out)))


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
