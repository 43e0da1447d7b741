"""A request to an OpenAI-compatible server, written once: sent, digested and logged alike."""

from dataclasses import dataclass
from typing import Any

from auditor.canon import canonical_json, canonical_object, digest


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a server, and the bytes that say so."""

    path: str
    """Below the base URL, like ``/chat/completions``."""
    body: dict[str, Any]
    """Not to be changed any more."""
    content: bytes
    """Canonical JSON of the body: what is sent."""
    line: bytes
    """Canonical JSON of ``{"path", "body"}``, as the log holds it."""
    digest: str
    """Of `line`: by it a reply is found again."""


def written(path: str, body: dict[str, Any]) -> Request:
    """Return a request for a path and a body.

    Raises:
        ValueError: the body has no canonical JSON.
    """
    content = canonical_json(body)
    line = canonical_object({"body": content, "path": canonical_json(path)})
    return Request(path=path, body=body, content=content, line=line, digest=digest(line))
