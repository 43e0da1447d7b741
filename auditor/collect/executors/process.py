"""Jobs done by processes of this machine; one that dies costs its job's attempt, no other's.

A pool of the standard library gives up all its jobs when a worker is killed. Here a worker has a
pipe of its own, and its end is seen beside the replies of the others.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Self

from auditor.collect.executors.base import Job, Outcome, attempt
from auditor.collect.executors.memory import Device, machine_devices


@dataclass(slots=True, eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    device: Device
    job: Job | None = None


class Processes:
    """Starts workers as they are needed, each bound to a GPU where there are several."""

    def __init__(self, workers: int, device: str | None = None) -> None:
        """Start nothing yet.

        Args:
            workers: at most.
            device: that models are opened on, as in a plan.
        """
        self.workers = workers
        self._devices = machine_devices(device)
        self._alive: list[_Worker] = []

    def accepts(self, job: Job) -> bool:
        """Whether a worker is free and its device has the memory left, or nothing else to do."""
        return self._device(job) is not None

    def start(self, job: Job) -> None:
        """Give a job to a worker of the device with the most memory left."""
        device = self._device(job)
        if device is None:
            raise ValueError(f"{job.name} was not accepted")
        idle = [worker for worker in self._alive if worker.job is None]
        chosen = next((worker for worker in idle if worker.device is device), None)
        if chosen is None:
            if idle and len(self._alive) >= self.workers:
                self._end(idle[0])  # it is bound to another device
            chosen = self._begin(device)
        chosen.job = job
        device.taken += job.memory
        device.jobs += 1
        with suppress(BrokenPipeError, ConnectionResetError):  # it is gone: `wait` will say so
            chosen.pipe.send(job)

    def wait(self) -> Outcome:
        """Return the next reply of a worker, or that one is gone."""
        busy = {worker.pipe: worker for worker in self._alive if worker.job is not None}
        ready = wait(list(busy))[0]
        worker = next(found for pipe, found in busy.items() if pipe is ready)
        job = self._release(worker)
        try:
            outcome: Outcome = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join()
            self._end(worker)
            return Outcome(job=job, lost=_end_of(worker.process))
        return outcome

    def _device(self, job: Job) -> Device | None:
        busy = sum(worker.job is not None for worker in self._alive)
        if busy >= self.workers:
            return None
        roomy = [one for one in self._devices if not one.jobs or one.left >= job.memory]
        return max(roomy, key=lambda one: one.left, default=None)

    def _begin(self, device: Device) -> _Worker:
        context = get_context("spawn")  # a fork would inherit the locks of our threads
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, device.number), daemon=True)
        process.start()
        theirs.close()  # so that the end of the worker is the end of the pipe
        worker = _Worker(process, ours, device)
        self._alive.append(worker)
        return worker

    def _release(self, worker: _Worker) -> Job:
        job = worker.job
        if job is None:
            raise ValueError("the worker has no job")
        worker.device.taken -= job.memory
        worker.device.jobs -= 1
        worker.job = None
        return job

    def _end(self, worker: _Worker) -> None:
        self._alive.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self._alive):
            if worker.job is not None:
                self._release(worker)
            self._end(worker)


def _end_of(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    return f"ended by signal {-code}" if code < 0 else f"exited with {code}"


def _serve(pipe: Connection, gpu: int | None) -> None:
    """Do jobs until the other end is closed."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(attempt(job))
