"""Which access a server offers, found by asking it: endpoints, and how many log-probabilities.

One short call for each kind of probe; another where the server does not accept the number of
log-probabilities that was asked for, or forbids them (403, as OpenAI does for some models). The
calls stand in the exchange log like all others.
"""

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from auditor.errors import AccessError, EndpointError, ServerError, SubjectError
from auditor.exchanges import ACCESS_PROBE
from auditor.models.echoes import EchoForm, echo_form
from auditor.models.openai_replies import read_reply, request_body
from auditor.models.server_client import ServerClient
from auditor.models.server_request import written
from auditor.types import Access, Decoding, Message, Probe

MOST_LOGPROBS = (20, 5)
"""Tried in this order: the most that chats and text completions of hosted servers show."""
CALL_TOKENS = (48, 4)
"""The most that are sent and come back with one of these calls."""
_FORBIDDEN = 403
_DECODING = Decoding(max_new_tokens=CALL_TOKENS[1])
_ASKED: Mapping[str, Probe] = {
    "chat": Probe(
        id="access-chat",
        category="access",
        messages=(Message(role="user", content="Say yes."),),
    ),
    "text": Probe(id="access-text", category="access", text="One, two, three,"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAccess:
    """What a server offers for each kind of probe, ``chat`` and ``text``."""

    logprobs: Mapping[str, int | None] = field(default_factory=dict)
    """By kind: log-probabilities at each generated token, None where none are shown."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """By kind that cannot be asked: why."""
    echo: EchoForm | None = None
    """How it shows what is likely in a text that it is given; None where it does not."""

    @property
    def level(self) -> Access:
        """TOPK where it shows log-probabilities of any of its replies."""
        return Access.TOPK if any((self.echo, *self.logprobs.values())) else Access.TEXT

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        logprobs, missing = dict(self.logprobs), dict(self.missing)
        echo = None if self.echo is None else self.echo.as_json()
        return {"echo": echo, "logprobs": logprobs, "missing": missing}


def find_access(
    client: ServerClient, model: str, kinds: Collection[str], wanted: int | None
) -> ServerAccess:
    """Return what a server offers for some kinds of probes.

    Args:
        client: asks.
        model: by the name that the server knows.
        kinds: ``chat``, ``text`` or both.
        wanted: so many log-probabilities are demanded; 0: none is asked for; None: as many of
            `MOST_LOGPROBS` as it shows.

    Raises:
        AccessError: fewer than demanded.
        SubjectError: the server accepts no request of this form.
        ServerError: wrong address or key, no such model, none of the endpoints.
    """
    logprobs: dict[str, int | None] = {}
    missing: dict[str, str] = {}
    absent: EndpointError | None = None
    for kind in sorted(kinds):
        try:
            logprobs[kind] = _offered(client, model, kind, wanted)
        except EndpointError as error:
            missing[kind], absent = error.message, error
    if absent is not None and not logprobs:
        raise absent
    echo = None
    if wanted != 0 and "text" not in missing:
        # No more than were demanded of replies: servers limit both alike.
        counts = MOST_LOGPROBS if wanted is None else (wanted,)
        # It has answered: what fails here is the echo, which nobody needs.
        with contextlib.suppress(ServerError):
            echo = echo_form(client, model, counts)
    return ServerAccess(logprobs=logprobs, missing=missing, echo=echo)


def _offered(client: ServerClient, model: str, kind: str, wanted: int | None) -> int | None:
    tried: list[int | None] = [*MOST_LOGPROBS, None] if wanted is None else [wanted or None]
    requests = {k: written(*request_body(_ASKED[kind], model, _DECODING, 0, k)) for k in tried}
    # What an earlier run found out is not asked again.
    known = [k for k in tried if client.known(requests[k])]
    for k in known or tried:
        try:
            reply = read_reply(client.post(requests[k], about={"purpose": ACCESS_PROBE}))
        except (SubjectError, ServerError) as error:
            # Without log-probabilities 403 is about the key.
            forbidden = wanted is None and getattr(error, "status", None) == _FORBIDDEN
            if k is None or not (isinstance(error, SubjectError) or forbidden):
                raise
            if wanted is not None:
                raise _too_few(model, kind, wanted, error.message) from error
            continue
        shown = min((len(position.top) for position in reply.positions or ()), default=None)
        if k is None or (shown is None and reply.positions is not None):
            return k
        if wanted is not None and (shown or 0) < wanted:
            raise _too_few(model, kind, wanted, f"it shows {shown or 'none'}")
        return min(shown, k) or None if shown is not None else None
    return None


def _too_few(model: str, kind: str, wanted: int, why: str) -> AccessError:
    return AccessError(
        f"{wanted} log-probabilities were demanded of {model} (top_logprobs={wanted}), and the "
        f"server does not give them in {kind} replies: {why}",
        hint="leave top_logprobs out of the specifier: what the server shows is found by asking, "
        "and its text alone is used where it shows none",
    )
