"""How long a server is asked again: exponential back-off, or as long as the server itself asks."""

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
    """Wait after the first failure; it doubles, with a random part."""
    longest: float = 120.0
    """Wait at most so long; a server that asks for more ends the work, which can be resumed."""
    timeout: float = 600.0
    """For one reply."""


class PassingError(Exception):
    """A failure that may pass, and after how many seconds, where the server says so."""

    def __init__(self, error: ServerError, wait: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait = wait


def retrying(patience: Patience) -> "tenacity.Retrying":
    """Return what repeats an attempt after a failure that may pass; threads may share it."""
    import tenacity

    doubling = tenacity.wait_exponential(multiplier=patience.first, max=patience.longest)
    backoff = doubling + tenacity.wait_random(0, patience.first)

    def wait(state: tenacity.RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        asked = failure.wait if isinstance(failure, PassingError) else None
        return backoff(state) if asked is None else asked

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(PassingError),
        stop=tenacity.stop_after_attempt(patience.attempts),
        wait=wait,
        reraise=True,
    )
