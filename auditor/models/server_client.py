"""Requests to an OpenAI-compatible server: each attempt recorded, passing failures retried.

Retried are cut connections, time-outs, bodies that hold no reply, and the status codes in
`PASSING`, with exponential back-off or after as long as the server asks; then all threads wait.
A limit on requests that lets others through meanwhile counts as no failure of the one it refused.
Everything else is refused at once, with the remedy. Nothing that was answered is asked again: see
`auditor.models.exchange_log`. A request that the server does not accept is asked once in a run.
"""

import datetime
import json
import threading
import time
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack
from copy import copy
from typing import TYPE_CHECKING, Any, NoReturn

from auditor.canon import whole_json
from auditor.errors import MissingExtraError, ServerError, SubjectError
from auditor.models.crew import Crew, Halt, crew
from auditor.models.exchange_log import ExchangeLog, body_json, kept_headers
from auditor.models.openai_replies import reply_content
from auditor.models.server_address import ServerAddress
from auditor.models.server_budget import Budget, Limits
from auditor.models.server_connection import KEPT_BYTES, Answer, Connection, CutReplyError
from auditor.models.server_pace import Pace, asked_wait, exhausted_wait
from auditor.models.server_patience import PassingError, Patience, retrying
from auditor.models.server_refusals import refusal, server_words
from auditor.models.server_request import Request
from auditor.spellings import SHORTEST, replaced, spellings

if TYPE_CHECKING:
    from auditor.models.server_connection import Ready

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
            SubjectError: the key, a proxy or certificates cannot be used.
        """
        try:
            import httpx  # noqa: F401
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
        self._connection = Connection(address, self._key, self._patience)
        self.halt = Halt(cut=self._connection.cut)
        """Ends the requests of `crew`."""
        self._budget = budget or Budget(Limits())
        self._pace = Pace(self.halt.event)
        self._retrying = retrying(self._patience, self.halt.event)
        self._answers = 0
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

    def crew(
        self, threads: int, single: tuple[type[Exception], ...] = ()
    ) -> AbstractContextManager[Crew]:
        """Return threads for `post`; see `auditor.models.crew.crew`."""
        return crew(threads, self.halt, single)

    def close(self) -> None:
        """Close the connections and the log; nothing is sent any more."""
        self.halt.event.set()
        self._connection.close()
        self._log.close()

    def _persistent(self, request: Request, about: dict[str, Any] | None) -> dict[str, Any]:
        before, spared = self._answers, 0
        try:
            for attempt in self._retrying:
                with attempt:
                    try:
                        return self._attempt(request, about)
                    except PassingError as failure:
                        # Others were answered since the last attempt: the limit lets some through.
                        spared += failure.limited and self._answers > before
                        before, failure.spared = self._answers, spared
                        raise
        except PassingError as failure:
            raise failure.error from failure
        raise RuntimeError("no attempt was made")  # unreachable: there is at least one

    def _attempt(self, request: Request, about: dict[str, Any] | None) -> dict[str, Any]:
        entry: dict[str, Any] = {"answered": False, "about": about}
        # Ready before its turn comes, and recorded after it: meanwhile others are under way.
        ready = self._connection.ready(request)
        with ExitStack() as stack:
            with self._under_way, self._pace.turn() as alone:
                reserved = self._reserved(request.body)
                stack.callback(self._budget.settle, reserved, request.body, entry)
                received = self._exchange(ready, entry)
                if isinstance(received, Answer):
                    self._keep_pace(received, alone=alone)
            return self._recorded(request, entry, received)

    def _reserved(self, body: dict[str, Any]) -> float:
        """Set the cost of a request aside, which may wait for others."""
        if self.halt.event.is_set():
            raise CancelledError
        reserved = self._budget.reserve(body)
        if self.halt.event.is_set():
            self._budget.settle(reserved, body, {"status": None, "answered": False})  # not sent
            raise CancelledError
        return reserved

    def _exchange(self, ready: "Ready", entry: dict[str, Any]) -> Answer | BaseException:
        """Send a request once; return what is answered, or whatever else came of it."""
        start = time.monotonic()
        entry["sent"] = datetime.datetime.now(datetime.UTC).isoformat()
        try:
            return self._connection.send(ready)
        except BaseException as error:  # recorded like all that was sent, and raised again
            return error
        finally:
            entry["seconds"] = round(time.monotonic() - start, 3)

    def _recorded(
        self, request: Request, entry: dict[str, Any], received: Answer | BaseException
    ) -> dict[str, Any]:
        """Put an exchange into the log; return the reply, or raise what was received instead."""
        try:
            if isinstance(received, BaseException):
                raise received
            body = self._without_key(received)
            content = reply_content(body) if received.status == 200 else None
            headers = kept_headers(received.headers, self._spelled)
        except BaseException as error:
            entry["error"] = type(error).__name__
            if isinstance(error, CutReplyError):
                entry |= body_json(self._beginning(error))
            self._log.append(request, entry, answered=False)
            self._broken(error)
        answered = content is not None
        told = {"status": received.status, "headers": headers, "answered": answered}
        entry |= {**told, **body_json(body)}
        self._log.append(request, entry, answered=answered)
        if content is None:
            self._refused(received, body)
        self.reached = True
        with self._lock:
            self._answers += 1
        return content

    def _without_key(self, answer: Answer) -> bytes:
        """Return the body of a reply; a key that the server echoes is taken out, here for all.

        A key as short as a word ("EMPTY", which local servers are given) may stand in an answer.
        """
        answered = answer.status == 200
        if answered and self._key is not None and len(self._key.encode()) < SHORTEST:
            return answer.body
        return replaced(answer.body, self._spelled)

    def _beginning(self, error: CutReplyError) -> bytes:
        """Return what is kept of a body that was not read to its end, without half a key there."""
        found = replaced(error.body, self._spelled)
        half = max(map(len, self._spelled), default=0)
        return found[: max(0, len(found) - half)][:KEPT_BYTES]

    def _keep_pace(self, answer: Answer, *, alone: bool) -> None:
        """Let all threads wait as long as the server says, up to the longest wait."""
        if alone and answer.status not in PASSING:
            self._pace.free()
        now = datetime.datetime.now(datetime.UTC)
        asked = None if 200 <= answer.status < 300 else asked_wait(answer.headers, now)
        wait = max(asked or 0.0, exhausted_wait(answer.headers, now) or 0.0)
        if wait:
            self._pace.hold(min(wait, self._patience.longest))

    def _broken(self, error: BaseException) -> NoReturn:
        """Refuse an address that never worked at once; what worked before may work again."""
        import httpx

        if not isinstance(error, httpx.RequestError | httpx.InvalidURL | CutReplyError):
            raise error
        failure = ServerError(
            f"{self._address.base_url} gave no reply: {type(error).__name__}",
            hint="check base_url and that the server is up; repeat the command to go on: replies "
            "that came are kept",
        )
        never_there = isinstance(error, httpx.ConnectError | httpx.InvalidURL) and not self.reached
        if never_there or isinstance(error, httpx.UnsupportedProtocol):
            raise failure from error
        raise PassingError(failure) from error

    def _refused(self, answer: Answer, body: bytes) -> NoReturn:
        status, words = answer.status, server_words(body)
        if status == 200:
            raise PassingError(
                ServerError(
                    f"{self._address.base_url} answered what is no reply: {words!r}",
                    hint="check that base_url is that of an OpenAI-compatible server",
                )
            )
        if status not in PASSING:
            error = refusal(self._address, status, words, self._connection.models)
            if isinstance(error, ServerError):
                error.status = status
            raise error
        slower = ", with &concurrency=1 in the specifier" if status == 429 else ""
        failure = ServerError(
            f"{self._address.base_url} answered {status}: {words}",
            hint=f"repeat the command later to go on{slower}: replies that came are kept",
        )
        now = datetime.datetime.now(datetime.UTC)
        wait = asked_wait(answer.headers, now)
        too_long = wait is not None and wait > self._patience.longest
        if too_long or _SPENT.encode() in body:
            raise failure
        named = wait is not None or exhausted_wait(answer.headers, now) is not None
        raise PassingError(failure, wait, limited=status == 429 and named)


def _object(body: bytes) -> dict[str, Any]:
    # The log keeps the bytes as they came.
    found: dict[str, Any] = whole_json(json.loads(body))
    return found
