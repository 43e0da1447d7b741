"""Options that say where the models are run: in this process, in others, or on a Ray cluster."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from auditor.collect.executors import Executor

_OPTIONS = (
    click.option(
        "--executor",
        type=click.Choice(["inline", "process", "ray"]),
        default="inline",
        show_default=True,
        help="Run the models in this process, in processes of this machine, or on Ray (extra ray). "
        "The result is the same.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="process, ray: models run at once, as far as memory allows. [default: one a core]",
    ),
    click.option(
        "--cluster",
        metavar="HOST:PORT",
        help="ray: head of a running cluster that shares this file system. "
        "[default: $RAY_ADDRESS, or Ray is started on this machine]",
    ),
)


def executor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def executor_of(options: dict[str, Any], device: str | None = None) -> "Executor | None":
    """Take the options out of a command's, and return the executor; None for this process.

    Raises:
        MissingExtraError: ``ray`` without Ray.
        InputError, ExecutorError: the options do not go together, or name no cluster.
    """
    from auditor.collect.executors import open_executor

    kind, workers = options.pop("executor"), options.pop("workers")
    return open_executor(kind, workers, device=device, address=options.pop("cluster"))
