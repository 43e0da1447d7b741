"""How fast a server may be asked, by its own headers: one pause that all threads keep.

``retry-after`` and ``retry-after-ms`` of a refusal (RFC 9110, 10.2.3), and of any reply that says
that no request or no token is left until a reset: ``x-ratelimit-remaining-requests: 0`` with
``x-ratelimit-reset-requests: 6m0s``, and the same of tokens.
"""

import contextlib
import datetime
import email.utils
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


_TURN = 1.0
"""Seconds after which a request that goes alone is taken to be accepted: refusals come fast."""
_LOOK = 0.05


class Pace:
    """A time before which nothing is sent; threads share it.

    After it they do not go all at once, which would only reach the limit again: the next one goes
    as the one before it ends or is under way for `_TURN`, until one was answered.
    """

    def __init__(self, halt: threading.Event) -> None:
        """While `halt` is set nobody waits."""
        self._halt = halt
        self._lock = threading.Lock()
        self._until = 0.0
        self._single = False
        self._taken = 0.0

    def hold(self, seconds: float) -> None:
        """Send nothing for so long from now; a longer pause that is under way stays."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)
            self._single = True

    def free(self) -> None:
        """Let all go at once again."""
        with self._lock:
            self._single = False

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """Wait until something may be sent, inside of the block; says whether it goes alone."""
        alone = self._wait()
        try:
            yield alone
        finally:
            if alone:
                with self._lock:
                    self._taken = 0.0

    def _wait(self) -> bool:
        while not self._halt.is_set():
            with self._lock:
                now = time.monotonic()
                left = self._until - now
                if left <= 0 and self._single:
                    left = min(self._taken - now, _LOOK)
                if left <= 0:
                    self._taken = now + _TURN
                    return self._single
            self._halt.wait(left)
        return False


def asked_wait(headers: Mapping[str, str], now: datetime.datetime) -> float | None:
    """Return the seconds a refusal asks to wait (RFC 9110, 10.2.3); None where it does not say.

    Args:
        headers: of the reply.
        now: aware; for dates.
    """
    readers: tuple[tuple[str, Callable[[str], float]], ...] = (
        ("retry-after-ms", lambda text: float(text) / 1000.0),
        ("retry-after", float),
        (
            "retry-after",
            lambda text: (email.utils.parsedate_to_datetime(text) - now).total_seconds(),
        ),
    )
    for name, read in readers:
        try:
            return max(0.0, read(headers[name]))
        except (KeyError, ValueError, TypeError):
            continue
    return None


def exhausted_wait(headers: Mapping[str, str], now: datetime.datetime) -> float | None:
    """Return the seconds until a limit that is used up is reset; None where none is.

    Args:
        headers: of any reply.
        now: aware; for resets that are given as a time.
    """
    waits = [
        _reset(headers.get(f"x-ratelimit-reset-{what}", ""), now)
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}", "").strip() == "0"
    ]
    known = [seconds for seconds in waits if seconds is not None]
    return max(known) if known else None


def _reset(text: str, now: datetime.datetime) -> float | None:
    """Return the seconds of ``1s``, ``6m0s``, ``20ms``, a bare number, or until a time."""
    text = text.strip()
    spans = _SPAN.fullmatch(text)
    if text and spans:
        parts = zip(spans.groups(), _UNITS, strict=True)
        return sum(float(value) * unit for value, unit in parts if value)
    for read in (float, lambda text: (datetime.datetime.fromisoformat(text) - now).total_seconds()):
        try:
            return max(0.0, read(text))
        except (ValueError, TypeError):
            continue
    return None
