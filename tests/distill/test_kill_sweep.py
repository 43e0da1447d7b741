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
STEPS = 24


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


def progress(out: Path) -> int:
    """Return how far a run is: shards captured and lines of its ledger; both only grow."""
    ledger = out / "ledger.jsonl"
    return len(shards(out)) + (ledger.read_bytes().count(b"\n") if ledger.exists() else 0)


def killed_at(server: Any, recipe: Path, out: Path, far: int, seconds: float) -> bool:
    """Start a run, kill it so long after it has come so far, say whether it was still running.

    The moment is one of the work's own, so that a fast or a busy machine moves no kill elsewhere.
    """
    process = server.Process(target=run, args=(recipe, out))
    process.start()
    while process.is_alive() and progress(out) < far:
        time.sleep(0.001)
    process.join(seconds)
    alive = bool(process.is_alive())
    process.kill()
    process.join()
    return alive


def to_the_end(server: Any, recipe: Path, out: Path) -> None:
    process = server.Process(target=run, args=(recipe, out))
    process.start()
    process.join()
    assert process.exitcode == 0


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


def repeatable(out: Path) -> dict[str, str]:
    """Return the digests of all files but the seconds that the run took."""
    return {name: value for name, value in directory_digests(out).items() if name != "cost.json"}


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
    values = changed(values, "train", steps=STEPS, save_every=4, eval_every=8)
    write_text(tmp_path, count=400)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(recipe_yaml(recipe_from(values, tmp_path)))
    to_the_end(server, recipe, tmp_path / "whole")
    expected = repeatable(tmp_path / "whole")
    captured, end = len(shards(tmp_path / "whole")), progress(tmp_path / "whole")
    assert captured > 40
    draw = random.Random(5)
    moments = [draw.randint(0, captured) for _ in range(KILLS // 2)]
    moments += [draw.randint(end - STEPS, end - 1) for _ in range(KILLS - len(moments))]
    stages = []
    for number, far in enumerate(moments):
        out = tmp_path / f"killed-{number}"
        if killed_at(server, recipe, out, far, draw.uniform(0, 0.02)):
            stages.append(stage(out))
        before = shards(out)
        to_the_end(server, recipe, out)
        after = shards(out)
        found = repeatable(out)
        assert found == expected, f"kill {number} at {far} of {end}, in {stages[-1:]}"
        # The newest shard may have been written without its line in the manifest.
        again = [name for name, when in before.items() if after[name] != when]
        assert len(again) <= 1, f"kill {number}: captured twice: {again}"
    assert {"capture", "training"} <= set(stages), stages
    assert len(stages) > KILLS // 2
