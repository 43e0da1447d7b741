"""What a server's refusal means, in words and with the remedy."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

from auditor.canon import whole_json
from auditor.errors import AuditorError, EndpointError, ServerError, SubjectError
from auditor.models.server_address import DEFAULT_KEY, ServerAddress

_SHOWN = 300
"""Characters of a server's own words."""


def server_words(body: bytes) -> str:
    """Return what a server says in the body of a reply, short."""
    text = body.decode(errors="replace")
    with contextlib.suppress(ValueError, RecursionError):  # no JSON, or nested without end
        text = _words_in(whole_json(json.loads(text)))
    return " ".join(text.split())[:_SHOWN]


def _words_in(found: Any) -> str:
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    return found if isinstance(found, str) else json.dumps(found)


def refusal(
    address: ServerAddress, status: int, words: str, models: Callable[[], list[str]]
) -> AuditorError:
    """Return the error for a status code that no repetition changes.

    A `ServerError` concerns every request, a `SubjectError` this one alone: a prompt that is too
    long, an option that the server does not know.

    Args:
        address: whom was asked.
        status: not 200, and not one that passes.
        words: of the server.
        models: asks the server which models it has.
    """
    said = f"{address.base_url} answered {status}: {words}"
    if status in (401, 403):
        where = address.key_file or address.key_env or DEFAULT_KEY
        return ServerError(said, hint=f"check the key in {where} and what it may use")
    if status == 404 and address.model in words:
        listed = ", ".join(models()[:10])
        return ServerError(
            f"{address.base_url} has no model {address.model!r}: {words}",
            hint=f"it has: {listed}" if listed else "ask the server for the names of its models",
        )
    if status in (404, 405, 501) or 300 <= status < 400:
        return EndpointError(
            said, hint="check base_url: for most servers it ends with /v1, without /chat/..."
        )
    return SubjectError(said, hint="the server does not accept this request; its words say why")


def model_names(body: bytes) -> list[str]:
    """Return the models that a server's list names; empty where it is no such list."""
    try:
        return [str(entry["id"]) for entry in whole_json(json.loads(body))["data"]]
    except (RecursionError, ValueError, KeyError, TypeError):
        return []
