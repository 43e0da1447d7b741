"""A run that is killed and continued ends with the ledger of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from distill_world import logits_recipe, sequence_values, write_permission

from auditor.canon import json_digest
from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger import Ledger
from auditor.distill.ledger_check import verify
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.errors import CaseError

KILLER = Path(__file__).with_name("distill_killer.py")


def kill_at(process: "subprocess.Popen[bytes]", ledger: Path, lines: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if ledger.is_file() and ledger.read_bytes().count(b"\n") >= lines:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_run_ends_with_the_same_ledger(tmp_path: Path, teacher: Path) -> None:
    values = sequence_values(tmp_path, teacher, prompts=40)
    values["train"].update(steps=40, save_every=4, batch_tokens=128)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    recipe, killed = recipe_from(values, tmp_path), tmp_path / "killed"
    distill(recipe, tmp_path / "straight")
    lines = 3 + int.from_bytes(os.urandom(2)) % 45
    command = [sys.executable, str(KILLER), str(tmp_path / "recipe.yaml"), str(killed)]
    process = subprocess.Popen(
        [*command, str(torch.get_num_threads())], env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    kill_at(process, killed / "ledger.jsonl", lines)
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    distill(recipe, killed)
    straight = (tmp_path / "straight" / "ledger.jsonl").read_bytes()
    assert (killed / "ledger.jsonl").read_bytes() == straight, f"killed after {lines} lines"


def interrupted(folder: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the recipe of a run in `folder` that stopped after step 5, two after a checkpoint."""
    from auditor.distill.metrics import MetricsLog as Log

    recipe = recipe_from(logits_recipe(folder, teacher), folder)
    append = Log.append

    def stop(self: Log, row: dict[str, Any]) -> None:
        append(self, row)
        if row["step"] == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(Log, "append", stop)
    with pytest.raises(KeyboardInterrupt):
        distill(recipe, folder / "run")
    monkeypatch.setattr(Log, "append", append)
    return recipe


def test_the_checkpoint_is_bound_to_the_ledger(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = interrupted(tmp_path, teacher, monkeypatch)
    ledger = Ledger(tmp_path / "run" / "ledger.jsonl")
    manifest = tmp_path / "run" / "checkpoints" / "checkpoint-3" / "manifest.json"
    bound = next(r for r in ledger.records if r.hash == json.loads(manifest.read_bytes())["ledger"])
    assert (bound.kind, bound.body["step"]) == ("batch", 3)
    distill(recipe, tmp_path / "run")
    distill(recipe, tmp_path / "straight")
    assert (tmp_path / "run" / "ledger.jsonl").read_bytes() == (
        tmp_path / "straight" / "ledger.jsonl"
    ).read_bytes()


def test_a_run_cannot_be_continued_on_another_history(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = interrupted(tmp_path, teacher, monkeypatch)
    path = tmp_path / "run" / "ledger.jsonl"
    records = [(record.kind, record.body) for record in Ledger(path).records]
    path.unlink()
    forged = Ledger(path)
    for kind, body in records:
        forged.append(kind, {**body, "tokens": 1} if kind == "batch" else body)
    with pytest.raises(CaseError, match="bound to"):
        distill(recipe, tmp_path / "run")


def test_a_continued_run_must_have_the_permission_it_began_with(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = interrupted(tmp_path, teacher, monkeypatch)
    write_permission(tmp_path / "permission.json", f"local:{teacher}", duties=["name the teacher"])
    with pytest.raises(CaseError, match="permission"):
        distill(recipe, tmp_path / "run")


def test_other_packages_on_resume_are_recorded(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditor.distill import lineage

    recipe = interrupted(tmp_path, teacher, monkeypatch)
    monkeypatch.setattr(lineage, "_PACKAGES", ("auditor", "torch"))
    distill(recipe, tmp_path / "run")
    ledger = Ledger(tmp_path / "run" / "ledger.jsonl")
    environments = ledger.bodies("environment")
    assert [len(e["packages"]) for e in environments] == [7, 2]
    assert json_digest(environments[0]) != json_digest(environments[1])
    assert all(clause.passed for clause in verify(FinishedRun(tmp_path / "run")))


def test_a_run_that_stopped_before_its_training_records_its_start_once(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditor.distill import run as module

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    recipe = recipe_from(sequence_values(tmp_path, teacher), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "record_training", stop)
        with pytest.raises(KeyboardInterrupt):
            distill(recipe, tmp_path / "run")
    begun = (tmp_path / "run" / "ledger.jsonl").read_bytes()
    distill(recipe, tmp_path / "run")
    ended = Ledger(tmp_path / "run" / "ledger.jsonl")
    assert (tmp_path / "run" / "ledger.jsonl").read_bytes().startswith(begun)
    kinds = [record.kind for record in ended.records][: begun.count(b"\n") + 1]
    start = ["environment", "permission", "teacher", "data", "data", "generation"]
    assert kinds == [*start, "train_config"]
