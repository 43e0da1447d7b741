"""What the command line shows: results to stdout, progress and prose to stderr, errors as both."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from auditor.errors import (
    AuditorError,
    BudgetError,
    ExecutorError,
    InputError,
    MissingExtraError,
    ServerError,
    StorageError,
)
from auditor.progress import Progress, Silent, Task
from auditor.report.escape import visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID
    from rich.text import Text

DONE = 0
INTERNAL = 1
BAD_INPUT = 2
GATE_MET = 3
INCONCLUSIVE = 4
VERIFICATION_FAILED = 5
NOT_AUTHENTICATED = 6
STOPPED_BY_BUDGET = 7
INTERRUPTED = 130


def exit_code(error: AuditorError) -> int:
    """Return the exit code of an error (DESIGN, section 5)."""
    if isinstance(error, (InputError, StorageError, MissingExtraError, ServerError, ExecutorError)):
        return BAD_INPUT
    return STOPPED_BY_BUDGET if isinstance(error, BudgetError) else INTERNAL


def json_text(value: Any) -> str:
    """Return indented JSON for stdout, in which no character is left that a terminal obeys."""
    return visible_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def emit_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json_text(value))


def echo(value: object = "") -> None:
    """Print a line of results on stdout, what a model or a file wrote in it made visible."""
    sys.stdout.write(visible(str(value)) + "\n")


def show_error(kind: str, message: str, hint: str | None, *, as_json: bool) -> None:
    """Print an error: one object on stdout with --json, two lines on stderr otherwise."""
    if as_json:
        emit_json({"error": {"type": kind, "message": message, "hint": hint}})
        return
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")


def write(document: str) -> None:
    """Print a document on stdout as it stands: one that was made inert by its own rules."""
    sys.stdout.write(document)


def say(text: str) -> None:
    """Print a line for people on stderr, what a model or a file wrote in it made visible."""
    sys.stderr.write(visible(text) + "\n")


def console() -> "Console":
    """Return the console for results on stdout; NO_COLOR and pipes are honoured.

    Every string that it prints, cells of tables too, is made visible.
    """
    from rich.console import Console

    class InertConsole(Console):
        def render_str(self, text: str, **options: Any) -> "Text":
            return super().render_str(visible(text), **options)

    # A pipe has no width; 80 columns would cut digests and paths.
    width = None if sys.stdout.isatty() else 160
    return InertConsole(width=width, highlight=False, emoji=False)


class Bars:
    """Shows each task as a bar on stderr with its rate and the time left."""

    @contextlib.contextmanager
    def task(self, description: str, total: int) -> Iterator[Task]:
        """Open a task; its bar stays on the screen when done."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichBars

        with RichBars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as bars:
            yield _Bar(bars, bars.add_task(visible(description), total=total, rate=""))


class _Bar:
    def __init__(self, bars: "RichBars", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def advance(self, amount: int = 1) -> None:
        """Move the bar and its rate."""
        self._bars.advance(self._task, amount)
        speed = self._bars.tasks[0].speed
        if speed:
            self._bars.update(self._task, rate=f"{speed:.1f}/s")


def progress() -> Progress:
    """Return bars where stderr is a terminal, silence elsewhere."""
    return Bars() if sys.stderr.isatty() else Silent()
