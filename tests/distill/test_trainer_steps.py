import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from distill_world import changed, logits_recipe, logits_run, weights_digest_of, write_text
from safetensors.torch import load_file
from torch.nn import functional

from auditor.distill.batches import padded_batch, plan_steps
from auditor.distill.checkpoints import MANIFEST, discard_others, newest_complete, seal_checkpoint
from auditor.distill.documents import read_sources, split_holdout
from auditor.distill.metrics import MetricsLog
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.distill.sequences import document_rows, sequences
from auditor.distill.student import build_student
from auditor.errors import UndefinedError
from auditor.models.byte_tokenizer import byte_tokenizer

KILLER = Path(__file__).with_name("distill_killer.py")
UNEQUAL = {"text": "text.jsonl", "max_length": 48, "holdout": 0.0, "packing": False}


def weights(run):
    return load_file(run / "student" / "model.safetensors")


def largest_difference(a, b):
    first, second = weights(a), weights(b)
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def baseline(folder, **train):
    write_text(folder)
    init = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "tokenizer": "bytes"}
    values = {
        "student": {"init": init},
        "data": UNEQUAL,
        "method": {"kind": "baseline"},
        "train": {"steps": 3, "batch_tokens": 192, "lr": 0.01, "clip": 0.0, **train},
    }
    return recipe_from(values, folder)


def test_accumulated_parts_of_unequal_length_give_the_weights_of_the_whole_batch(tmp_path):
    runs = {parts: tmp_path / f"run{parts}" for parts in (1, 2, 4)}
    for parts, run in runs.items():
        distill(baseline(tmp_path, accumulate=parts), run)
    assert largest_difference(runs[1], runs[2]) < 1e-6
    assert largest_difference(runs[1], runs[4]) < 1e-6
    losses = [
        [row["loss"] for row in MetricsLog(run / "metrics.jsonl").rows()] for run in runs.values()
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_first_loss_is_the_mean_over_all_targets_of_the_step(tmp_path):
    recipe = baseline(tmp_path, accumulate=2)
    distill(recipe, tmp_path / "run")
    student = build_student(recipe, None, byte_tokenizer())
    texts = read_sources(recipe).documents
    store = sequences(document_rows(texts, student.tokenizer, 48, packing=False))
    plan = plan_steps(store, steps=1, batch_tokens=192, parts=1, seed=0)
    batch = padded_batch(store, plan.members[0])
    with torch.no_grad():
        logits = student.module(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
    picked = batch["scored"]
    assert len(set(store.lengths[plan.members[0]])) > 2
    # A mean of the two parts' means would weigh the shorter part's tokens more.
    expected = functional.cross_entropy(logits[picked].double(), batch["targets"][picked])
    row = MetricsLog(tmp_path / "run" / "metrics.jsonl").rows()[0]
    assert row["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert row["tokens"] == int(picked.sum())


def test_warm_up_and_cosine_are_recorded_as_used(tmp_path):
    distill(baseline(tmp_path, steps=5, warmup=1, schedule="cosine"), tmp_path / "run")
    rates = [row["lr"] for row in MetricsLog(tmp_path / "run" / "metrics.jsonl").rows()]
    # One warm-up step from 0, then half a cosine over 4 steps: 0.005 (1 + cos(pi k / 4)).
    expected = [0.0, *(0.005 * (1 + math.cos(math.pi * k / 4)) for k in range(4))]
    assert rates == pytest.approx(expected, abs=1e-12)


def start_process(recipe, run, **environment):
    command = [sys.executable, str(KILLER), str(recipe), str(run), str(torch.get_num_threads())]
    return subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1", **environment})


def rows_in(path):
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def kill_after(process, metrics, rows):
    deadline = time.monotonic() + 120
    while rows_in(metrics) < rows and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_at_a_random_moment_and_resumed_gives_the_same_bytes(tmp_path, teacher):
    values = logits_recipe(tmp_path, teacher)
    values = changed(values, "train", steps=60, accumulate=2, save_every=4, eval_every=25)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    recipe = recipe_from(values, tmp_path)
    straight = distill(recipe, tmp_path / "straight")
    rows = 2 + int.from_bytes(os.urandom(2)) % 50
    killed = tmp_path / "killed"
    process = start_process(tmp_path / "recipe.yaml", killed)
    kill_after(process, killed / "metrics.jsonl", rows)
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (killed / "lineage.json").exists()
    resumed = distill(recipe, killed)
    what = f"killed after {rows} rows"
    assert weights_digest_of(killed) == weights_digest_of(tmp_path / "straight"), what
    assert (killed / "metrics.jsonl").read_bytes() == (
        tmp_path / "straight" / "metrics.jsonl"
    ).read_bytes(), what
    assert resumed == straight, what


def test_two_ranks_train_the_student_of_one(tmp_path, teacher):
    values = changed(logits_recipe(tmp_path, teacher), "train", steps=4)
    values["data"].update(packing=False)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    distill(recipe_from(values, tmp_path), tmp_path / "one")
    shared = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(20000 + os.getpid() % 20000),
        "ACCELERATE_USE_CPU": "true",
    }
    ranks = [
        start_process(tmp_path / "recipe.yaml", tmp_path / "two", RANK=r, LOCAL_RANK=r, **shared)
        for r in "01"
    ]
    assert [process.wait(timeout=180) for process in ranks] == [0, 0]
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-6
    one, two = ((tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    losses = [[r["loss"] for r in MetricsLog(p).rows() if "loss" in r] for p in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert json.loads((tmp_path / "two" / "lineage.json").read_bytes())["environment"]["ranks"] == 2


def test_loss_that_is_no_number_stops_the_run_and_names_the_step(tmp_path):
    recipe = baseline(tmp_path, lr=1e30, steps=6, warmup=0.0, schedule="constant")
    words = r"the loss of step (\d) is (nan|inf): a batch with the sequences ([\d, ]+)"
    with pytest.raises(UndefinedError, match=words) as caught:
        distill(recipe, tmp_path / "run")
    found = re.search(words, caught.value.message)
    student = build_student(recipe, None, byte_tokenizer())
    texts = read_sources(recipe).documents
    store = sequences(document_rows(texts, student.tokenizer, 48, packing=False))
    plan = plan_steps(store, steps=6, batch_tokens=192, parts=1, seed=recipe.train.seed)
    named = {int(number) for number in found[3].split(", ")}
    assert named == set(sorted(plan.members[int(found[1]) - 1].tolist())[:8])
    assert not (tmp_path / "run" / "lineage.json").exists()


def complete(folder, step):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"weights %d" % step)
    (path / "trainer_state.json").write_text("{}")
    seal_checkpoint(path, step)
    return path


def test_newest_complete_checkpoint_is_chosen_by_number_not_by_name(tmp_path):
    complete(tmp_path, 9)
    newest = complete(tmp_path, 10)
    assert newest_complete(tmp_path) == (newest, 10)


@pytest.mark.parametrize("damage", ["cut", "lost", "unsealed"])
def test_half_written_checkpoint_does_not_count(tmp_path, damage):
    older, newest = complete(tmp_path, 5), complete(tmp_path, 10)
    if damage == "cut":
        (newest / "model.safetensors").write_bytes(b"weig")
    elif damage == "lost":
        (newest / "trainer_state.json").unlink()
    else:
        (newest / MANIFEST).unlink()
    assert newest_complete(tmp_path) == (older, 5)
    discard_others(tmp_path, older)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def test_no_checkpoint_is_none(tmp_path):
    assert newest_complete(tmp_path / "absent") is None


def test_metrics_are_cut_back_and_an_unfinished_line_is_dropped(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    for step in (1, 2, 3):
        log.append({"step": step, "loss": step / 2})
    with (tmp_path / "m.jsonl").open("ab") as stream:
        stream.write(b'{"step": 4, "lo')
    log.keep_until(2)
    assert (tmp_path / "m.jsonl").read_bytes() == b'{"loss":0.5,"step":1}\n{"loss":1,"step":2}\n'
    with pytest.raises(ValueError, match="canonical"):
        log.append({"step": 5, "loss": float("nan")})


def test_holdout_never_enters_the_training_part(tmp_path, teacher):
    recipe = logits_run(tmp_path, teacher)
    texts = read_sources(recipe).documents
    from auditor.canon import digest

    split = split_holdout([digest(text.encode()) for text in texts], recipe.data.holdout)
    held = {texts[index] for index in split.holdout}
    assert held
    assert held.isdisjoint(texts[index] for index in split.train)
