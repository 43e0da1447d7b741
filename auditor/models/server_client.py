"""Requests to an OpenAI-compatible server: each attempt recorded, passing failures retried.

Retried are cut connections, time-outs, bodies that hold no reply, and the status codes in
`PASSING`, with exponential back-off or after as long as the server asks; then all threads wait.
Everything else is refused at once, with the remedy. Nothing that was answered is asked again: see
`auditor.models.exchange_log`. A request that the server does not accept is asked once in a run.
"""

import datetime
import json
import threading
import time
from contextlib import ExitStack
from copy import copy
from typing import TYPE_CHECKING, Any, NoReturn

from auditor.canon import whole_json
from auditor.errors import MissingExtraError, ServerError, SubjectError
from auditor.models.exchange_log import ExchangeLog, body_json, kept_headers
from auditor.models.openai_replies import reply_content
from auditor.models.server_address import ServerAddress
from auditor.models.server_budget import Budget, Limits
from auditor.models.server_pace import Pace, asked_wait, exhausted_wait
from auditor.models.server_patience import PassingError, Patience, retrying
from auditor.models.server_refusals import listed_models, refusal, server_words
from auditor.models.server_request import Request
from auditor.spellings import SHORTEST, replaced, spellings

if TYPE_CHECKING:
    import httpx

    Ready = httpx.Request | httpx.InvalidURL
    Received = httpx.Response | httpx.TransportError | httpx.InvalidURL

PASSING = (408, 409, 429, 500, 502, 503, 504, 529)
"""Status codes after which the same request may be answered."""
_SPENT = "insufficient_quota"
"""A 429 with this code does not pass by waiting."""


class ServerClient:
    """Posts JSON and returns JSON. Threads may share it."""

    def __init__(
        self,
        address: ServerAddress,
        log: ExchangeLog,
        patience: Patience | None = None,
        budget: Budget | None = None,
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
        at_once = httpx.Limits(
            max_connections=address.concurrency, max_keepalive_connections=address.concurrency
        )
        self._http = httpx.Client(headers=headers, timeout=timeout, limits=at_once)
        self._budget = budget or Budget(Limits())
        self._pace = Pace()
        self._retrying = retrying(self._patience)
        self._urls: dict[str, httpx.URL] = {}
        self._spelled = spellings(self._key) if self._key else []
        self._not_accepted: dict[str, SubjectError] = {}
        self._lock = threading.Lock()
        self._under_way = threading.BoundedSemaphore(address.concurrency)
        self.reached = False
        """Whether the server has answered a request, now or before."""

    def post(self, request: Request, about: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the object with which the server answers; from the log where it did before.

        Args:
            request: what is asked.
            about: whose reply it asks for; stands in the log beside the request.

        Raises:
            SubjectError: the server does not accept this request.
            BudgetError: it would pass a limit, and was not sent.
            ServerError: wrong address or key, no such model; it goes on failing, or asks to wait
                too long.
            StorageError: the log cannot be written.
        """
        known = self._log.reply(request)
        if known is not None:
            self.reached = True
            return _object(known)
        with self._lock:
            refused = self._not_accepted.get(request.digest)
        if refused is not None:
            raise copy(refused)
        try:
            return self._persistent(request, about)
        except SubjectError as error:
            with self._lock:
                # A copy has no traceback: its frames would keep the request and the reply.
                self._not_accepted[request.digest] = copy(error)
            raise

    def known(self, request: Request) -> bool:
        """Say whether a request was answered before, now or in an earlier run."""
        return request in self._log

    def attempts(self, request: Request) -> int:
        """Return how often a request was sent, in this run and before."""
        return self._log.attempts(request)

    def close(self) -> None:
        """Close the connections and the log."""
        self._http.close()
        self._log.close()

    def _persistent(self, request: Request, about: dict[str, Any] | None) -> dict[str, Any]:
        try:
            for attempt in self._retrying:
                with attempt:
                    return self._attempt(request, about)
        except PassingError as failure:
            raise failure.error from failure
        raise RuntimeError("no attempt was made")  # unreachable: there is at least one

    def _attempt(self, request: Request, about: dict[str, Any] | None) -> dict[str, Any]:
        entry: dict[str, Any] = {"answered": False, "about": about}
        # Ready before its turn comes, and recorded after it: meanwhile others are under way.
        ready = self._ready(request)
        with ExitStack() as stack:
            with self._under_way:
                self._pace.wait()
                reserved = self._budget.reserve(request.body)
                stack.callback(self._budget.settle, reserved, request.body, entry)
                received = self._exchange(ready, entry)
            return self._recorded(request, entry, received)

    def _ready(self, request: Request) -> "Ready":
        import httpx

        try:
            url = self._urls.get(request.path) or httpx.URL(self._address.base_url + request.path)
        except httpx.InvalidURL as error:
            return error
        self._urls[request.path] = url  # read once: that takes as long as the rest
        headers = {"content-type": "application/json"}
        return self._http.build_request("POST", url, content=request.content, headers=headers)

    def _exchange(self, ready: "Ready", entry: dict[str, Any]) -> "Received":
        """Send a request once; return the response, or the failure to get one."""
        import httpx

        start = time.monotonic()
        entry["sent"] = datetime.datetime.now(datetime.UTC).isoformat()
        try:
            if isinstance(ready, httpx.InvalidURL):
                raise ready
            response = self._http.send(ready)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            entry["seconds"] = _seconds(start)
            return error
        entry["seconds"] = _seconds(start)
        self._hold(response)
        return response

    def _recorded(
        self, request: Request, entry: dict[str, Any], received: "Received"
    ) -> dict[str, Any]:
        """Put an exchange into the log; return the reply, or raise what was received instead."""
        if isinstance(received, Exception):
            entry["error"] = type(received).__name__
            self._log.append(request, entry, answered=False)
            self._cut(received, type(received).__name__)
        response, body = received, self._without_key(received)
        content = reply_content(body) if response.status_code == 200 else None
        answered = content is not None
        entry |= {
            "status": response.status_code,
            "headers": kept_headers(response.headers, self._spelled),
            **body_json(body),
            "answered": answered,
        }
        self._log.append(request, entry, answered=answered)
        if content is not None:
            self.reached = True
            return content
        return self._refused(response, body)

    def _without_key(self, response: "httpx.Response") -> bytes:
        """Return the body of a reply; a key that the server echoes is taken out, here for all.

        A key as short as a word ("EMPTY", which local servers are given) may stand in an answer.
        """
        answered = response.status_code == 200
        if answered and self._key is not None and len(self._key.encode()) < SHORTEST:
            return response.content
        return replaced(response.content, self._spelled)

    def _hold(self, response: "httpx.Response") -> None:
        """Let all threads wait as long as the server says, up to the longest wait."""
        now = datetime.datetime.now(datetime.UTC)
        asked = None if response.is_success else asked_wait(response.headers, now)
        wait = max(asked or 0.0, exhausted_wait(response.headers, now) or 0.0)
        self._pace.hold(min(wait, self._patience.longest))

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
        raise PassingError(failure) from error

    def _refused(self, response: "httpx.Response", body: bytes) -> NoReturn:
        status, words = response.status_code, server_words(body)
        if status == 200:
            raise PassingError(
                ServerError(
                    f"{self._address.base_url} answered what is no reply: {words!r}",
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
        raise PassingError(failure, wait)

    def _models(self) -> list[str]:
        return listed_models(self._http, self._address.base_url, self._key)


def _seconds(start: float) -> float:
    """Return the time since `start`, in milliseconds' precision."""
    return round(time.monotonic() - start, 3)


def _object(body: bytes) -> dict[str, Any]:
    # The log keeps the bytes as they came.
    found: dict[str, Any] = whole_json(json.loads(body))
    return found
