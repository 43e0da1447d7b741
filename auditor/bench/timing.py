"""Interleaved timing: every candidate once a round, so that a slow minute hits them all."""

import statistics
import time
from collections.abc import Callable, Mapping

from auditor.bench.experiment import Run
from auditor.bench.rows import Timing
from auditor.progress import Task

LONG_S = 15.0
"""A candidate whose first run takes longer, with nothing to compile, is not run again."""


def timed(run: Callable[[], object], device: str) -> float:
    """Return the seconds of one run, by events of the device where it is a GPU."""
    import torch

    if torch.device(device).type != "cuda":
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    begin, end = (
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    torch.cuda.synchronize()
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / 1000.0


def interleaved(runs: Mapping[str, Run], rounds: int, device: str, task: Task) -> dict[str, Timing]:
    """Return the timing of each run; all were run before, so nothing is loaded or compiled now.

    One whose first round took longer than `LONG_S` sits out the others. The order is turned by one
    place each round, so that nobody always runs first.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(rounds):
        first = turn % len(names) if names else 0
        for name in names[first:] + names[:first]:
            if turn == 0 or seconds[name][0] <= LONG_S:
                seconds[name].append(timed(runs[name], device))
            task.advance()
    return {name: summary(values) for name, values in seconds.items()}


def summary(values: list[float]) -> Timing:
    """Return median and quartiles of at least one number of seconds."""
    if len(values) == 1:
        return Timing(median=values[0], quartile1=values[0], quartile3=values[0], runs=1)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Timing(median=middle, quartile1=low, quartile3=high, runs=len(values))
