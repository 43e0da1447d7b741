"""The same recipe on one process and, by `accelerate launch`, on two (DDP over gloo)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from distill_world import changed, logits_recipe, make_teacher, sequence_values
from safetensors.torch import load_file

from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.distill.run_folder import recipe_yaml

RUNNER = Path(__file__).with_name("distill_killer.py")


def on_two(recipe: Path, out: Path) -> None:
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        # With --cpu accelerate starts one process; the run itself finds that there is no GPU.
        "--multi_gpu",
        *("--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"),
        *("--dynamo_backend", "no", "--main_process_port", "0"),
        *(str(RUNNER), str(recipe), str(out), "1"),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]


def losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def both_ways(folder: Path, values: dict[str, Any]) -> tuple[Path, Path]:
    recipe = recipe_from(values, folder)
    (folder / "recipe.yaml").write_bytes(recipe_yaml(recipe))
    distill(recipe, folder / "one")
    on_two(folder / "recipe.yaml", folder / "two")
    return folder / "one", folder / "two"


def assert_equal_runs(one: Path, two: Path) -> None:
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    expected = load_file(one / "student" / "model.safetensors")
    found = load_file(two / "student" / "model.safetensors")
    assert {*found} == {*expected}
    assert all(torch.allclose(found[n], expected[n], atol=2e-4) for n in expected)
    environment = json.loads((two / "lineage.json").read_bytes())["environment"]
    assert (environment["ranks"], environment["strategy"]) == (2, "ddp")


@pytest.mark.parametrize("cache", [None, {"scheme": "pps", "k": 8}])
def test_two_processes_give_the_losses_of_one(tmp_path: Path, cache: Any) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    values = changed(logits_recipe(tmp_path, teacher), "method", cache=cache)
    assert_equal_runs(*both_ways(tmp_path, values))


def test_two_processes_answer_prompts_as_one_does(tmp_path: Path) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    values = sequence_values(tmp_path, teacher, student={"shrink": {"layers": 2}})
    values["method"] = {"kind": "on-policy", "on_policy": {"max_new_tokens": 8}}
    assert_equal_runs(*both_ways(tmp_path, values))
