"""Controls of a case made by workers, one of them killed: the bytes that one process leaves."""

import json
import os
import shutil
import signal
import threading
import time
from multiprocessing import active_children

import pytest
import torch
from test_case_controls import RECIPE, written

from auditor.canon import directory_digests
from auditor.cli.main import run

OF_TIME = ("seconds", "resumed")
"""Keys of cost.json, which alone says how long something took."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Have this process, and the workers after it, round alike whatever the machine is."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return written(tmp_path_factory.mktemp("recipe"), RECIPE)


def build(recipe, out, *words):
    # Runs name the folder in which they lie: all are built at one place.
    assert run(["controls", "build", "case", str(recipe), "--out", str(out), *words]) == 0
    kept = out.with_name(f"{out.name}-{len(list(out.parent.iterdir()))}")
    shutil.move(out, kept)
    return kept


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("built") / "controls"


@pytest.fixture(scope="module")
def alone(recipe, out):
    """The folder as this process alone makes it."""
    return build(recipe, out)


def contents(folder):
    """Return the digest of each file, and what cost.json says beside times."""
    found = directory_digests(folder)
    for path in folder.rglob("cost.json"):
        said = json.loads(path.read_bytes())
        kept = {key: value for key, value in said.items() if key not in OF_TIME}
        found[path.relative_to(folder).as_posix()] = json.dumps(kept, sort_keys=True)
    return found


def killed_while(folder, member):
    """Kill a busy worker with SIGKILL once a member is in the making; return who was killed."""
    killed = []

    def watch():
        end = time.monotonic() + 120
        while not killed and time.monotonic() < end:
            if (folder / "runs" / member).is_dir() and len(active_children()) > 1:
                worker = active_children()[0]
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    return killed, thread


def built_with_a_loss(recipe, out, *words):
    killed, thread = killed_while(out, "fresh-01")
    made = build(recipe, out, *words, "--workers", "2")
    thread.join()
    assert len(killed) == 1
    assert killed[0].exitcode == -signal.SIGKILL
    return made


def test_two_workers_of_which_one_is_killed_make_the_same_models(recipe, alone, out):
    made = built_with_a_loss(recipe, out, "--executor", "process")
    assert contents(made) == contents(alone)
    assert len(list(made.rglob("model.safetensors"))) == 10


@pytest.mark.slow
def test_ray_makes_the_same_models(recipe, alone, out, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    made = build(recipe, out, "--executor", "ray", "--workers", "2")
    assert contents(made) == contents(alone)
