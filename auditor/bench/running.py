"""Runs a case: ready the candidates, compare with float64, time them in turn, measure memory."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from auditor.bench.accuracy import accuracy
from auditor.bench.bars import Bar
from auditor.bench.catalogue import build, experiment_keys
from auditor.bench.environment import distribution_version
from auditor.bench.experiment import AUDITOR, OURS, Candidate, Experiment, Outputs, Run, Settings
from auditor.bench.memory import measured_apart
from auditor.bench.rows import Row, Status
from auditor.bench.timing import LONG_S, interleaved, summary, timed
from auditor.errors import AuditorError, InputError, KernelUnavailableError
from auditor.progress import Progress, Task

INSTALL = "pip install 'auditor[bench]'"
MemoryProbe = Callable[[str, str, str, Settings], tuple[int | None, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BarResult:
    """A bar and what was measured."""

    bar: Bar
    value: float | None
    reason: str | None
    """Why there is no value."""

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None where there is no value."""
        return None if self.value is None else self.bar.met(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The table of one experiment; it holds none of its inputs."""

    case: str
    key: str
    title: str
    shape: Mapping[str, int]
    timed: bool
    rows: list[Row]
    bars: list[BarResult]


def prepare_device(settings: Settings) -> None:
    """Set the threads, and check the device.

    Raises:
        InputError: fewer than one thread or run, or no such device here.
    """
    import torch

    if settings.threads < 1 or settings.runs < 1:
        raise InputError(
            f"threads and runs must be at least 1, found {settings.threads} and {settings.runs}"
        )
    torch.set_num_threads(settings.threads)
    try:
        torch.zeros(1, device=settings.device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {settings.device!r} cannot be used here: {str(error).splitlines()[0]}",
            hint="--device cpu works everywhere",
        ) from error


def findings(
    cases: Sequence[str],
    settings: Settings,
    progress: Progress,
    memory: MemoryProbe | None = None,
) -> Iterator[Finding]:
    """Yield the table of each experiment of the cases, in order.

    `memory` tells the extra bytes of a candidate; if None, a process of its own is asked.

    Raises:
        InputError: no such case.
    """
    wanted = [(case, key) for case in cases for key in experiment_keys(case)]
    for case, key in wanted:
        yield _finding(case, key, settings, progress, memory or measured_apart)


def _finding(
    case: str, key: str, settings: Settings, progress: Progress, memory: MemoryProbe
) -> Finding:
    experiment = build(case, key, settings)
    count = len(experiment.candidates)
    steps = count * (2 + settings.runs) if experiment.timed else count
    rows: dict[str, Row] = {}
    with progress.task(f"bench {case} {key}", steps) as task:
        truth = experiment.truth()
        runs: dict[str, Run] = {}
        for candidate in experiment.candidates:
            row, ready = _first_run(candidate, experiment, truth, settings)
            rows[row.name] = row
            if ready is not None:
                runs[row.name] = ready
            task.advance()
        if experiment.timed:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # each was run once before, ours with warnings
                _time(rows, runs, settings, task)
            del runs
            for row in _measurable(rows, task):
                row.extra_bytes, row.memory_reason = memory(case, key, row.name, settings)
                task.advance()
    bars = [_bar_result(bar, rows, settings) for bar in experiment.bars]
    return Finding(
        case=case,
        key=key,
        title=experiment.title,
        shape=experiment.shape,
        timed=experiment.timed,
        rows=list(rows.values()),
        bars=bars,
    )


def _first_run(
    candidate: Candidate, experiment: Experiment, truth: Outputs, settings: Settings
) -> tuple[Row, Run | None]:
    """Run a candidate once, outside the clock, and compare what it gives with the truth."""
    row = Row(name=candidate.name, computes=candidate.computes)
    if find_spec(candidate.package.module) is None:
        return _absent(row, "not installed", f"not installed: {INSTALL}"), None
    known = distribution_version(candidate.package.distribution)
    row.package = f"{candidate.package.distribution} {known or '(version unknown)'}"
    if candidate.compiles and settings.small:
        return _absent(row, "left out", "left out of --small: it compiles for seconds"), None
    try:
        with warnings.catch_warnings():
            if candidate.package != AUDITOR:
                warnings.simplefilter("ignore")
            run = candidate.prepare()
            outputs: Outputs = {}
            seconds = timed(lambda: outputs.update(run()), settings.device)
            found = accuracy(experiment, outputs, truth)
    except KernelUnavailableError as error:
        return _absent(row, "unavailable", error.message), None
    except AuditorError as error:
        return _absent(row, "failed", error.message), None
    except Exception as error:  # a peer may fail in any way; the table says how
        text = str(error).strip() or "no message"
        reason = f"{type(error).__name__}: {text.splitlines()[0][:200]}"
        return _absent(row, "failed", reason), None
    row.errors, row.mismatches, row.negative = found.errors, found.mismatches, found.negative
    if seconds > LONG_S and not candidate.compiles:
        row.timing = summary([seconds])
    return row, run


def _absent(row: Row, status: Status, reason: str) -> Row:
    row.status, row.reason = status, reason
    return row


def _time(rows: dict[str, Row], runs: dict[str, Run], settings: Settings, task: Task) -> None:
    again = {name: run for name, run in runs.items() if rows[name].timing is None}
    task.advance(settings.runs * (len(rows) - len(again)))
    for name, timing in interleaved(again, settings.runs, settings.device, task).items():
        rows[name].timing = timing
    timings = [row.timing for row in rows.values() if row.timing and row.name.startswith(OURS)]
    for row in rows.values():
        if row.timing and timings:
            row.ratio = row.timing.median / timings[0].median


def _measurable(rows: dict[str, Row], task: Task) -> Iterator[Row]:
    """Yield the rows that ran; the others count as done."""
    for row in rows.values():
        if row.status == "ok":
            yield row
        else:
            task.advance()


def _bar_result(bar: Bar, rows: dict[str, Row], settings: Settings) -> BarResult:
    reason = None
    if not bar.accuracy and settings.small:
        reason = "--small"
    elif not bar.accuracy and settings.device != "cpu":
        reason = "a bar for CPUs"
    value = None if reason else bar.value(rows)
    if value is None and reason is None:
        reason = "a row was not measured"
    return BarResult(bar=bar, value=value, reason=reason)
