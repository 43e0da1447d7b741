"""Jobs done by the processes of a Ray cluster, or of one that is started on this machine.

Ray places a job where its memory is free: a share of a GPU, or bytes of main memory. Ray's own
retries are off: `auditor.collect.executors.dispatch` repeats a job, and the case's log says so.
"""

import contextlib
import logging
import math
import os
import socket
from typing import Any, Self

from auditor.collect.executors.base import Job, Outcome, attempt
from auditor.collect.executors.memory import uses_gpu
from auditor.errors import ExecutorError, MissingExtraError

_ANSWER_S = 5.0
_START = (
    "start one with: ray start --head; or leave out --cluster and $RAY_ADDRESS to use this machine"
)


class RayCluster:
    """Submits jobs as Ray tasks."""

    def __init__(
        self, workers: int | None, device: str | None = None, address: str | None = None
    ) -> None:
        """Connect to nothing yet.

        Args:
            workers: jobs at once, at most; None for a job for each CPU of the cluster.
            device: that models are opened on, as in a plan.
            address: HOST:PORT of the head of a running cluster; None takes ``$RAY_ADDRESS``, and
                without that starts Ray on this machine for the time of the work.

        Raises:
            MissingExtraError: Ray is not installed.
            ExecutorError: `address` is not one.
        """
        self._ray = _ray()
        self._address = address or os.environ.get("RAY_ADDRESS") or None
        if self._address is not None:
            _endpoint(self._address)
        self._asked = workers
        self.workers = workers or 1
        self._gpu = uses_gpu(device)
        self._gpu_bytes: int | None = None
        self._running: dict[Any, Job] = {}

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ExecutorError: the cluster does not answer.
        """
        options: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "include_dashboard": False,
            "configure_logging": False,
        }
        if self._address is None:
            self._ray.init(num_cpus=self._asked or os.cpu_count(), **options)
        else:
            self._connect()
        if self._asked is None:
            self.workers = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        return self

    def _connect(self) -> None:
        address = str(self._address)
        unreachable = f"the Ray cluster at {address} cannot be reached"
        try:
            with socket.create_connection(_endpoint(address), timeout=_ANSWER_S):
                pass
        except OSError as error:
            raise ExecutorError(f"{unreachable}: {error}", hint=_START) from error
        try:
            self._ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            said = str(error).strip().split("\n", 1)[0]
            raise ExecutorError(f"{unreachable}: {said}", hint=_START) from error

    def __exit__(self, *_: object) -> None:
        for reference in self._running:
            with contextlib.suppress(Exception):  # whatever it does, it is to end
                self._ray.cancel(reference, force=True)
        self._running.clear()
        self._ray.shutdown()

    def accepts(self, job: Job) -> bool:
        """Whether fewer jobs than workers are running; Ray keeps one until its memory is free.

        Raises:
            ExecutorError: no machine of the cluster has the memory.
        """
        self._check(job)
        return len(self._running) < self.workers

    def start(self, job: Job) -> None:
        """Submit a job."""
        # Ray would give each worker one thread; jobs set as many as the driver has.
        remote = self._ray.remote(attempt).options(
            max_retries=0, num_cpus=1, name=job.name, **self._resources(job)
        )
        self._running[remote.remote(job)] = job

    def wait(self) -> Outcome:
        """Return the outcome of the next job that ends."""
        ended, _ = self._ray.wait(list(self._running), num_returns=1)
        job = self._running.pop(ended[0])
        try:
            outcome: Outcome = self._ray.get(ended[0])
        except self._ray.exceptions.RayError as error:
            # A result cannot be had only where the worker, or its machine, is gone: `attempt`
            # returns every error of a job itself.
            return Outcome(job=job, lost=str(error).strip().split("\n", 1)[0])
        return outcome

    def _resources(self, job: Job) -> dict[str, Any]:
        if not self._gpu:
            return {"memory": job.memory} if job.memory else {}
        share = job.memory / self._gpu_memory()
        # Ray takes parts of one GPU, or whole ones.
        return {
            "num_gpus": max(0.01, math.ceil(100 * share) / 100) if share <= 1 else math.ceil(share)
        }

    def _gpu_memory(self) -> int:
        """Return the bytes that jobs may take of a GPU; all of a cluster count as the same."""
        if self._gpu_bytes is None:
            probe = self._ray.remote(_first_gpu).options(num_cpus=0, num_gpus=0.01)
            self._gpu_bytes = int(0.8 * self._ray.get(probe.remote()))
        return self._gpu_bytes

    def _check(self, job: Job) -> None:
        name = "GPU" if self._gpu else "memory"
        nodes = [node["Resources"].get(name, 0) for node in self._ray.nodes() if node["Alive"]]
        most, unit = max(nodes, default=0), "GPUs" if self._gpu else "bytes"
        if self._gpu and not most:
            raise ExecutorError("the Ray cluster has no GPU", hint="give --device cpu")
        asked = self._resources(job)
        needed = asked.get("num_gpus", 0) if self._gpu else asked.get("memory", 0)
        if needed > most:
            raise ExecutorError(
                f"{job.name} needs {needed:,} {unit}; the largest machine of the Ray cluster has "
                f"{most:,.0f}",
                hint="add a larger machine, or use a smaller --dtype",
            )


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError(
            "--executor ray needs the package ray", hint="pip install 'auditor[ray]'"
        ) from error
    return ray


def _endpoint(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ExecutorError(
            f"{address!r} is no address of a Ray cluster", hint="write HOST:PORT, as in head:6379"
        )
    return host.strip("[]"), int(port)


def _first_gpu() -> int:
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)
