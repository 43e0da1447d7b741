"""What an executor is given, and what it gives back."""

import importlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from auditor.errors import AuditorError


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A small piece of work that any worker can do, and do again: its result lies on the disk."""

    name: str
    """Unique among the jobs that are carried out together."""
    function: str
    """``module:function``; a worker imports it and calls it with `arguments`."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Values that can be pickled."""
    after: frozenset[str] = frozenset()
    """Names of the jobs whose results it reads."""
    memory: int = 0
    """Bytes that it needs at most: of a GPU where the machine has one, else of main memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended: with a value, with an error, or with its worker."""

    job: Job
    value: Any = None
    error: Exception | None = None
    lost: str | None = None
    """What became of the worker, where it was lost; the job may then be given to another."""


class Executor(Protocol):
    """Does jobs; the order and the retries are `auditor.collect.executors.dispatch`'s."""

    @property
    def workers(self) -> int:
        """Jobs that are done at once, at most."""
        ...

    def accepts(self, job: Job) -> bool:
        """Whether a worker is free and has the memory for a job.

        Raises:
            ExecutorError: none will ever have it.
        """
        ...

    def start(self, job: Job) -> None:
        """Give an accepted job to a worker."""
        ...

    def wait(self) -> Outcome:
        """Return the outcome of a started job, when the next one ends."""
        ...

    def __enter__(self) -> Self:
        """Make workers possible; they start with their first job."""
        ...

    def __exit__(self, *_: object) -> None:
        """End all workers, whatever they do."""
        ...


def attempt(job: Job) -> Outcome:
    """Do a job in this process and return how it ended."""
    module, _, function = job.function.partition(":")
    try:
        return Outcome(
            job=job, value=getattr(importlib.import_module(module), function)(**job.arguments)
        )
    except AuditorError as error:
        return Outcome(job=job, error=error)
    except Exception as error:
        # Only what every process knows travels safely; the traceback is lost with the process.
        said = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        return Outcome(job=job, error=RuntimeError(f"in the job {job.name}: {said}"))
