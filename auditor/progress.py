"""How long work tells its progress: a protocol, and the silent implementation."""

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Task(Protocol):
    """One piece of work with a known total."""

    def advance(self, amount: int = 1) -> None:
        """Record that `amount` more units are done."""
        ...


class Progress(Protocol):
    """Shows tasks one after another; the command line implements it with a bar on stderr."""

    def task(self, description: str, total: int) -> contextlib.AbstractContextManager[Task]:
        """Open a task of `total` units."""
        ...


class _SilentTask:
    def advance(self, amount: int = 1) -> None:
        """Show nothing."""


class Silent:
    """Shows nothing."""

    @contextlib.contextmanager
    def task(self, description: str, total: int) -> Iterator[Task]:
        """Open a task that is not shown."""
        yield _SilentTask()
