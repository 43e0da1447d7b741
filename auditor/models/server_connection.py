"""The connections to a server: a request sent once, and its reply read whole within limits."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from auditor.errors import SubjectError
from auditor.models.server_address import ServerAddress
from auditor.models.server_patience import Patience
from auditor.models.server_refusals import model_names
from auditor.models.server_request import Request
from auditor.spellings import without

if TYPE_CHECKING:
    import httpx

    Ready = httpx.Request | httpx.InvalidURL

MOST_BYTES = 64 * 2**20
"""Of the body of a reply, decoded; of a longer one the rest is not read."""
KEPT_BYTES = 64 * 2**10
"""Of a body that was not read to its end, at most."""
_PROXIES = ("all_proxy", "https_proxy", "http_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_OPENED = (".connect_tcp.complete", ".start_tls.complete")


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class CutReplyError(Exception):
    """A reply was not read to its end."""

    def __init__(self, body: bytes = b"") -> None:
        super().__init__()
        self.body = body
        """Its beginning."""


class ReplyTooLongError(CutReplyError):
    """It has more than `MOST_BYTES`."""


class ReplyTooSlowError(CutReplyError):
    """It took longer than `Patience.timeout`."""


class RequestStoppedError(CutReplyError):
    """The work was ended while it was under way."""


class Connection:
    """Sends requests. Threads may share it."""

    def __init__(self, address: ServerAddress, key: str | None, patience: Patience) -> None:
        """Open nothing yet.

        Raises:
            SubjectError: a variable of the environment names a proxy or certificates that cannot
                be used.
        """
        import httpx

        self._base_url = address.base_url
        self._key = key
        self._timeout = patience.timeout
        self._urls: dict[str, httpx.URL] = {}
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()
        self._cuts = 0
        try:
            self._http = httpx.Client(
                headers={"authorization": f"Bearer {key}"} if key else {},
                timeout=httpx.Timeout(patience.timeout, connect=10.0),
                limits=httpx.Limits(
                    max_connections=address.concurrency,
                    max_keepalive_connections=address.concurrency,
                ),
            )
        except OSError as error:
            raise _bad_certificates(error) from error
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise _bad_proxy(missing=isinstance(error, ImportError)) from error

    def ready(self, request: Request) -> "Ready":
        """Return a request as it is sent, or why its address cannot be one."""
        import httpx

        try:
            url = self._urls.get(request.path) or httpx.URL(self._base_url + request.path)
        except httpx.InvalidURL as error:
            return error
        self._urls[request.path] = url  # read once: that takes as long as the rest
        return self._http.build_request(
            "POST",
            url,
            content=request.content,
            headers={"content-type": "application/json"},
            extensions={"trace": self._trace},
        )

    def send(self, ready: "Ready") -> Answer:
        """Send a request once.

        Raises:
            httpx.RequestError, httpx.InvalidURL, CutReplyError: there is no reply, or no whole one.
        """
        import httpx

        if isinstance(ready, httpx.InvalidURL):
            raise ready
        end, cuts = time.monotonic() + self._timeout, self._cuts
        try:
            response = self._http.send(ready, stream=True)
            try:
                return Answer(response.status_code, response.headers, _body(response, end))
            finally:
                response.close()
        except httpx.RequestError as error:
            if cuts != self._cuts:
                raise RequestStoppedError from error
            raise

    def cut(self) -> None:
        """Break off what is under way; what is sent afterwards has connections of its own."""
        with self._lock:
            self._cuts += 1
            # To close them would not wake the threads that read from them.
            for one in list(self._sockets):
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(one, socket.SHUT_RDWR)

    def models(self) -> list[str]:
        """Return the models that the server lists; empty where it lists none."""
        import httpx

        extensions = {"trace": self._trace}
        try:
            url = self._base_url + "/models"
            answer = self.send(self._http.build_request("GET", url, extensions=extensions))
        except (httpx.RequestError, httpx.InvalidURL, CutReplyError):
            return []
        return model_names(without(answer.body, self._key))

    def close(self) -> None:
        """Break off what is under way, and close the connections."""
        self.cut()
        self._http.close()

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the socket of a connection that is opened: httpx has no other way to it."""
        if event.endswith(_OPENED):
            with self._lock:
                self._sockets.add(info["return_value"].get_extra_info("socket"))


def _body(response: "httpx.Response", end: float) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise ReplyTooLongError(_beginning(parts))
        if time.monotonic() > end:
            raise ReplyTooSlowError(_beginning(parts))
    return b"".join(parts)


def _beginning(parts: list[bytes]) -> bytes:
    # Twice what is kept, so that a key which is taken out is whole.
    return b"".join(parts)[: 2 * KEPT_BYTES]


def _bad_certificates(error: OSError) -> SubjectError:
    named = next((name for name in _CERTIFICATES if os.environ.get(name)), "the system")
    return SubjectError(
        f"the certificates of {named} cannot be read: {error.strerror or error}",
        hint=f"name a file of certificates (PEM) in {_CERTIFICATES[0]}, or unset it",
    )


def _bad_proxy(*, missing: bool) -> SubjectError:
    # Values are not shown: they may hold a password.
    named = [
        name
        for name, value in sorted(os.environ.items())
        if name.lower() in _PROXIES and (value.startswith("socks") or not missing)
    ]
    listed = " or ".join(named) or "the system"
    if missing:
        return SubjectError(
            f"the proxy of {listed} is a SOCKS proxy, which needs the package socksio",
            hint=f"pip install 'httpx[socks]', or unset {listed}",
        )
    return SubjectError(
        f"the proxy of {listed} has no address that can be used",
        hint=f"write it like http://localhost:3128, or unset {listed}",
    )
