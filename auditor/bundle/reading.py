"""Processes that read a large case side by side."""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

_LARGE = 1 << 25
"""Bytes of a case from which processes of its own are worth their start."""


@contextmanager
def reading_processes(size: int, workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """Yield a pool, or None where reading in this process is as fast.

    They are forks, which have all modules loaded; only of Linux it is known that this is safe.

    Args:
        size: of the case, bytes.
        workers: processes at most.
    """
    if workers < 2 or size < _LARGE or sys.platform != "linux":
        yield None
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        yield pool


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
