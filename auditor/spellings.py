"""A secret in every spelling in which a program could write it, and its removal from a text.

Spellings are those that programs make without meaning to hide anything: JSON, HTML, URLs, base64
(of the secret, or of something that holds it) and hexadecimal digits. Whoever wants to hide a
secret, by reversing or splitting it, is not found out so.
"""

import base64
import html
import json
from collections.abc import Iterator, Sequence
from urllib.parse import quote, quote_plus

SHORTEST = 8
"""Bytes. A shorter value (true, 1, a word) would be found in any text."""


def spellings(secret: str) -> list[bytes]:
    """Return the spellings of a secret, each once, the longest first."""
    found = {secret.encode(errors="surrogateescape")} | set(_escaped(secret)) | set(_coded(secret))
    return sorted(found, key=lambda one: (-len(one), one))


def _escaped(secret: str) -> Iterator[bytes]:
    for text in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        for form in (text, text.replace("/", "\\/"), html.escape(text)):
            yield form.encode(errors="surrogateescape")
    for text in (html.escape(secret), html.escape(secret).replace("&#x27;", "&#39;")):
        yield text.replace("&quot;", "&#34;").encode(errors="surrogateescape")
        yield text.encode(errors="surrogateescape")
    for safe in ("", "/"):
        yield quote(secret, safe=safe, errors="surrogateescape").encode()
        yield quote_plus(secret, safe=safe, errors="surrogateescape").encode()


def _coded(secret: str) -> Iterator[bytes]:
    """Yield what is long enough to be no chance: hexadecimal digits, base64 at each alignment."""
    raw = secret.encode(errors="surrogateescape")
    if len(raw) < SHORTEST:
        return
    yield from (raw.hex().encode(), raw.hex().upper().encode())
    for before in range(3):
        # Of the characters at both ends some bits are those of the neighbours.
        first, last = -(-before * 4 // 3), (before + len(raw)) * 8 // 6
        padded = bytes(before) + raw
        for coded in (base64.b64encode(padded), base64.urlsafe_b64encode(padded)):
            yield coded[first:last]


def without(text: bytes, secret: str | None) -> bytes:
    """Return a text with every spelling of a secret replaced by ``[key]``."""
    return replaced(text, spellings(secret) if secret else [])


def replaced(text: bytes, spelled: Sequence[bytes]) -> bytes:
    """Return a text with the `spellings` of a secret replaced by ``[key]``."""
    for spelling in spelled:
        text = text.replace(spelling, b"[key]")
    return text
