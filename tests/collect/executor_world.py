"""Jobs of tests, and the killing of a worker in the middle of a task."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auditor.canon import directory_digests
from auditor.case import Case, open_case
from auditor.collect.executors import Executor
from auditor.collect.run import collect_case
from auditor.progress import Silent


def end_the_worker() -> None:
    """Be a job that takes its worker along."""
    os.kill(os.getpid(), signal.SIGKILL)


def end_the_worker_once(marker: str) -> int:
    """Be a job that takes its worker along when it is done for the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        end_the_worker()
    return 7


def twice(number: int) -> int:
    """Be a job with a value."""
    return 2 * number


def seen_gpu() -> str | None:
    """Be a job that says which GPU its worker sees."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def take_a_minute() -> None:
    """Be a job that is still under way when a run ends."""
    time.sleep(60)


def collected_by(executor: Executor | None, root: Path, plan: dict) -> Case:
    """Collect a plan with the workers of an executor, on one thread: the models are tiny."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        case = open_case(root, plan)
        collect_case(case, Silent(), None, executor)
    finally:
        torch.set_num_threads(threads)
    return case


def digests(case: Case) -> dict[str, str]:
    """Return the digests of all files but the one that holds times."""
    found = directory_digests(case.data)
    found.pop("custody.jsonl")
    return found


def events(case: Case) -> list[dict]:
    """Return what custody.jsonl says, without times and the hashes that follow from them."""
    lines = [json.loads(line) for line in (case.data / "custody.jsonl").read_bytes().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "seq", "prev")} for line in lines]


@contextmanager
def worker_killed_in(root: Path, task: str) -> Iterator[list[int]]:
    """Kill the first worker that begins a task of the case at `root`; yield who was killed."""
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set() and not killed:
            for folder in (root / "work" / "attempts").glob(f"{task}.*"):
                if (folder / "data").is_dir():  # it works
                    pid = int(folder.name.rpartition(".")[2])
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    break
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield killed
    finally:
        over.set()
        watcher.join()
