"""SIGKILL at 25 moments of a run with a cache: in capture, in training, in checkpointing."""

import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import pytest
from distill_world import changed, logits_recipe, make_teacher, write_text

from auditor.canon import directory_digests
from auditor.distill.recipe import load_recipe, recipe_from
from auditor.distill.run import distill
from auditor.distill.run_folder import recipe_yaml

KILLS = 25


def run(recipe: Path, out: Path) -> None:
    """Distill in a process of its own; small captures, so that there are many shards."""
    import torch

    from auditor.distill import capture

    torch.set_num_threads(1)
    capture.GROUP_TOKENS = 32
    distill(load_recipe(recipe), out)


@pytest.fixture(scope="module")
def server() -> Any:
    """Processes that have imported everything: a kill falls into the work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["auditor.distill.training", "auditor.distill.capturing"])
    return context


def killed_at(server: Any, recipe: Path, out: Path, seconds: float) -> bool:
    """Start a run, kill it after so long, say whether it was still running."""
    process = server.Process(target=run, args=(recipe, out))
    process.start()
    process.join(seconds)
    alive = bool(process.is_alive())
    process.kill()
    process.join()
    return alive


def to_the_end(server: Any, recipe: Path, out: Path) -> float:
    start = time.monotonic()
    process = server.Process(target=run, args=(recipe, out))
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - start


def stage(out: Path) -> str:
    """Return what a killed run was doing."""
    if (out / "student").exists():
        return "saving"
    checkpoints = list((out / "checkpoints").glob("checkpoint-*"))
    if any(not (folder / "manifest.json").exists() for folder in checkpoints):
        return "checkpointing"
    if (out / "metrics.jsonl").exists():
        return "training"
    return "capture" if (out / "cache" / "manifest.json").exists() else "start"


def shards(out: Path) -> dict[str, int]:
    """Return when each shard was written, in nanoseconds."""
    return {
        str(path.relative_to(out)): path.stat().st_mtime_ns
        for path in out.glob("cache/**/shards/*.safetensors")
    }


@pytest.mark.slow
def test_a_run_killed_anywhere_ends_the_same(tmp_path: Path, server: Any) -> None:
    teacher = make_teacher(tmp_path / "teacher")
    values = changed(logits_recipe(tmp_path, teacher), "method", cache={"scheme": "pps", "k": 8})
    values = changed(values, "train", steps=24, save_every=4, eval_every=8)
    write_text(tmp_path, count=400)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(recipe_yaml(recipe_from(values, tmp_path)))
    to_the_end(server, recipe, tmp_path / "warm")
    whole = to_the_end(server, recipe, tmp_path / "whole")
    expected = directory_digests(tmp_path / "whole")
    assert len([name for name in expected if "/shards/" in name]) > 40
    draw = random.Random(5)
    stages = []
    for number in range(KILLS):
        out = tmp_path / f"killed-{number}"
        moment = whole * (number + draw.random()) / KILLS
        if killed_at(server, recipe, out, moment):
            stages.append(stage(out))
        before = shards(out)
        to_the_end(server, recipe, out)
        after = shards(out)
        found = directory_digests(out)
        assert found == expected, f"kill {number} after {moment:.2f} s, in {stages[-1:]}"
        # The newest shard may have been written without its line in the manifest.
        again = [name for name, when in before.items() if after[name] != when]
        assert len(again) <= 1, f"kill {number}: captured twice: {again}"
    assert {"capture", "training"} <= set(stages), stages
