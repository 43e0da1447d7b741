"""Executors by name."""

import os

from auditor.collect.executors.base import Executor
from auditor.errors import InputError

EXECUTORS = ("inline", "process", "ray")


def open_executor(
    kind: str, workers: int | None = None, *, device: str | None = None, address: str | None = None
) -> Executor | None:
    """Return an executor, to be entered; None for ``inline``, which needs no other process.

    Args:
        kind: one of `EXECUTORS`.
        workers: jobs at once; None for a job for each core.
        device: that models are opened on, as in a plan.
        address: of a running Ray cluster.

    Raises:
        MissingExtraError: ``ray`` without Ray.
        InputError: options that the kind has no use for.
        ExecutorError: `address` is not one.
    """
    if address is not None and kind != "ray":
        raise InputError("--cluster is for --executor ray", hint="add --executor ray")
    if kind == "inline":
        if workers is not None:
            raise InputError(
                "--workers is for --executor process and ray", hint="add --executor process"
            )
        return None
    if kind == "ray":
        from auditor.collect.executors.ray_cluster import RayCluster

        return RayCluster(workers, device, address)
    from auditor.collect.executors.process import Processes

    return Processes(workers or len(os.sched_getaffinity(0)), device)
