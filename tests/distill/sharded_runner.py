"""Run by every rank of a launcher: distill the recipes of FOLDER/jobs.json one after another.

A job with ``dies`` loses its last rank after that step, without a farewell; one with ``command`` is
run as `auditor distill`. Beside the runs each rank writes which share of the student's numbers it
kept, and the errors of refused recipes.
"""

import faulthandler
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from auditor.cli.main import cli
from auditor.distill import training
from auditor.distill.ledger_steps import StepLedger
from auditor.distill.ranks import is_first_rank, rank_count
from auditor.distill.recipe import load_recipe
from auditor.distill.run import distill
from auditor.errors import AuditorError

DEAD = 9


def keep_shares(folder: Path) -> None:
    """Note the share of the parameters that this rank holds when training begins."""
    original = training.shard
    shares: list[float] = []

    def shard(module: Any) -> Any:
        sharded = original(module)
        held = sum(p.to_local().numel() for p in sharded.parameters())
        shares.append(held / sum(p.numel() for p in sharded.parameters()))
        (folder / f"shares-{os.environ['RANK']}.json").write_text(json.dumps(shares))
        return sharded

    training.shard = shard


def lose_a_rank_after(step: int) -> None:
    original = StepLedger.on_step_end

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **given: Any) -> None:
        original(self, args, state, control, **given)
        if state.global_step == step and int(os.environ["RANK"]) == rank_count() - 1:
            os._exit(DEAD)

    StepLedger.on_step_end = on_step_end


def run(folder: Path, job: dict[str, Any]) -> None:
    if "dies" in job:
        lose_a_rank_after(job["dies"])
    recipe, out = folder / job["recipe"], folder / job["out"]
    if "command" in job:
        cli.main(["distill", str(recipe), "--out", str(out)], standalone_mode=False)
        return
    try:
        distill(load_recipe(recipe), out)
    except AuditorError as error:
        if is_first_rank():
            found = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
            (folder / f"{job['out']}.error.json").write_text(json.dumps(found))


if __name__ == "__main__":
    faulthandler.dump_traceback_later(280, exit=True)  # a test that hangs says where
    torch.set_num_threads(1)
    work = Path(sys.argv[1])
    keep_shares(work)
    for item in json.loads((work / "jobs.json").read_bytes()):
        run(work, item)
