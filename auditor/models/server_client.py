"""Requests to an OpenAI-compatible server: each attempt recorded, passing failures retried.

Retried are cut connections, time-outs, bodies that are not JSON, and the status codes in `PASSING`,
with exponential back-off or after as long as the server asks. Everything else is refused at once,
with the remedy. Nothing that was answered is asked again: see `auditor.models.exchange_log`.
"""

import datetime
import email.utils
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from auditor.canon import canonical_json, whole_json
from auditor.errors import MissingExtraError, ServerError
from auditor.models.exchange_log import ExchangeLog, body_json, kept_headers
from auditor.models.server_address import ServerAddress
from auditor.models.server_refusals import refusal, server_words
from auditor.spellings import SHORTEST, without

if TYPE_CHECKING:
    import httpx

PASSING = (408, 409, 429, 500, 502, 503, 504, 529)
"""Status codes after which the same request may be answered."""
_SPENT = "insufficient_quota"
"""A 429 with this code does not pass by waiting."""


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


class _PassingError(Exception):
    """A failure that may pass, and after how many seconds, where the server says so."""

    def __init__(self, error: ServerError, wait: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait = wait


class ServerClient:
    """Posts JSON and returns JSON. Threads may share it."""

    def __init__(
        self, address: ServerAddress, log: ExchangeLog, patience: Patience | None = None
    ) -> None:
        """Open nothing yet.

        Raises:
            MissingExtraError: the extra ``api`` is not installed.
            SubjectError: the key cannot be read.
        """
        try:
            import httpx
            import tenacity  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                "models on a server need the packages httpx and tenacity",
                hint="pip install 'auditor[api]'",
            ) from error
        self._address = address
        self._log = log
        self._patience = patience or Patience()
        self._key = address.key()
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = httpx.Timeout(self._patience.timeout, connect=10.0)
        self._http = httpx.Client(headers=headers, timeout=timeout)
        self.reached = False
        """Whether the server has answered a request, now or before."""

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the object with which the server answers `body`; from the log where it did before.

        Args:
            path: below the base URL, like ``/chat/completions``.
            body: what is sent.

        Raises:
            SubjectError: the server does not accept this request.
            ServerError: wrong address or key, no such model; it goes on failing, or asks to wait
                too long.
            StorageError: the log cannot be written.
        """
        request = {"path": path, "body": body}
        known = self._log.reply(request)
        if known is not None:
            self.reached = True
            return _object(known)
        return self._persistent(request)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _persistent(self, request: dict[str, Any]) -> dict[str, Any]:
        import tenacity

        first, longest = self._patience.first, self._patience.longest
        doubling = tenacity.wait_exponential(multiplier=first, max=longest)
        backoff = doubling + tenacity.wait_random(0, first)

        def wait(state: tenacity.RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome else None
            asked = failure.wait if isinstance(failure, _PassingError) else None
            return backoff(state) if asked is None else asked

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_PassingError),
            stop=tenacity.stop_after_attempt(self._patience.attempts),
            wait=wait,
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    return self._attempt(request, attempt.retry_state.attempt_number)
        except _PassingError as failure:
            raise failure.error from failure
        raise RuntimeError("no attempt was made")  # unreachable: there is at least one

    def _attempt(self, request: dict[str, Any], number: int) -> dict[str, Any]:
        import httpx

        sent = {"attempt": number, "sent": datetime.datetime.now(datetime.UTC).isoformat()}
        try:
            response = self._http.post(
                self._address.base_url + request["path"],
                content=canonical_json(request["body"]),
                headers={"content-type": "application/json"},
            )
        except (httpx.TransportError, httpx.InvalidURL) as error:
            name = type(error).__name__
            self._log.append(request, {**sent, "error": name}, answered=False)
            self._cut(error, name)
        body = self._without_key(response)
        recorded = {
            **sent,
            "status": response.status_code,
            "headers": kept_headers(response.headers, self._key),
            **body_json(body),
        }
        answered = response.status_code == 200 and _is_object(body)
        self._log.append(request, recorded, answered=answered)
        if answered:
            self.reached = True
            return _object(body)
        return self._refused(response, body)

    def _without_key(self, response: "httpx.Response") -> bytes:
        """Return the body of a reply; a key that the server echoes is taken out, here for all.

        A key as short as a word ("EMPTY", which local servers are given) may stand in an answer.
        """
        answered = response.status_code == 200
        if answered and self._key is not None and len(self._key.encode()) < SHORTEST:
            return response.content
        return without(response.content, self._key)

    def _cut(self, error: "httpx.TransportError | httpx.InvalidURL", name: str) -> NoReturn:
        """Refuse an address that never worked at once; what worked before may work again."""
        import httpx

        failure = ServerError(
            f"{self._address.base_url} gave no reply: {name}",
            hint="check base_url and that the server is up; repeat the command to go on: replies "
            "that came are kept",
        )
        never_there = isinstance(error, httpx.ConnectError | httpx.InvalidURL) and not self.reached
        if never_there or isinstance(error, httpx.UnsupportedProtocol):
            raise failure from error
        raise _PassingError(failure) from error

    def _refused(self, response: "httpx.Response", body: bytes) -> NoReturn:
        status, words = response.status_code, server_words(body)
        if status == 200:
            raise _PassingError(
                ServerError(
                    f"{self._address.base_url} answered what is not a JSON object: {words!r}",
                    hint="check that base_url is that of an OpenAI-compatible server",
                )
            )
        if status not in PASSING:
            raise refusal(self._address, status, words, self._models)
        failure = ServerError(
            f"{self._address.base_url} answered {status}: {words}",
            hint="repeat the command later to go on: replies that came are kept",
        )
        wait = asked_wait(response.headers, datetime.datetime.now(datetime.UTC))
        too_long = wait is not None and wait > self._patience.longest
        if too_long or _SPENT.encode() in body:
            raise failure
        raise _PassingError(failure, wait)

    def _models(self) -> list[str]:
        """Return the models that the server lists; empty where it lists none."""
        import httpx

        try:
            reply = self._http.get(self._address.base_url + "/models")
            found = json.loads(without(reply.content, self._key))
            return [str(entry["id"]) for entry in found["data"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return []


def asked_wait(headers: Any, now: datetime.datetime) -> float | None:
    """Return the seconds a reply asks to wait (RFC 9110, 10.2.3); None where it does not say.

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


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


def _object(body: bytes) -> dict[str, Any]:
    # The log keeps the bytes as they came.
    found: dict[str, Any] = whole_json(json.loads(body))
    return found
