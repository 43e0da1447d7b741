"""How long a server is asked again: exponential back-off, or as long as the server itself asks."""

import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.errors import ServerError

if TYPE_CHECKING:
    import tenacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on asking, in seconds."""

    attempts: int = 6
    first: float = 0.5
    """Wait at least so long after the first failure; it doubles, with a random part."""
    longest: float = 120.0
    """Wait at most so long; a server that asks for more ends the work, which can be resumed."""
    timeout: float = 600.0
    """For one reply, looked at as its parts come, and for the silence before any of them: one that
    falls silent in the middle takes less than twice as long."""


class PassingError(Exception):
    """A failure that may pass, and after how many seconds, where the server says so."""

    def __init__(
        self, error: ServerError, wait: float | None = None, *, limited: bool = False
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait = wait
        self.limited = limited
        """Whether a limit on requests was reached, and the server says until when."""
        self.spared = 0
        """Attempts up to this one that do not count."""


def retrying(patience: Patience, halt: threading.Event) -> "tenacity.Retrying":
    """Return what repeats an attempt after a failure that may pass; threads may share it.

    Args:
        patience: how often, and after which waits.
        halt: ends the waits; while it is set nothing is repeated.
    """
    import tenacity

    def wait(state: tenacity.RetryCallState) -> float:
        asked = getattr(_failure(state), "wait", None) or 0.0
        backoff = patience.first * 2.0 ** max(0, _counted(state) - 1)
        spread = random.uniform(0, patience.first)  # noqa: S311 - no secret
        return max(asked, min(backoff, patience.longest) + spread)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(PassingError),
        stop=lambda state: halt.is_set() or _counted(state) >= patience.attempts,
        wait=wait,
        sleep=tenacity.sleep_using_event(halt),
        reraise=True,
    )


def _failure(state: "tenacity.RetryCallState") -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _counted(state: "tenacity.RetryCallState") -> int:
    failure = _failure(state)
    spared = failure.spared if isinstance(failure, PassingError) else 0
    return state.attempt_number - spared
