"""Record lines read many at once: of the types of their schema, and spelled as RFC 8785 has it.

What is accepted here is right as far as types and spelling go; the rest is a question to the slow
readers, which also say what is wrong. A case has hundred thousands of these lines. Fractions and
patterns are not looked at: `auditor.bundle.replies` has the first line of each kind checked whole.
"""

import hashlib
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

_LARGEST = 2**53 - 1
_Count: TypeAlias = Annotated[int, Meta(ge=0, le=_LARGEST)]
_Positive: TypeAlias = Annotated[int, Meta(ge=1, le=_LARGEST)]
# Fields stand in the order of RFC 8785, in which they are written again.


class Decoding(Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """`request.decoding`; of numbers that may be fractions the spelling is kept."""

    max_new_tokens: _Positive
    temperature: Raw
    top_k: _Count
    top_p: Raw


class Request(Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """`request`."""

    decoding: Decoding
    prompt: str
    seed: _Count


class Usage(Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """`usage`."""

    completion_tokens: _Count | None
    prompt_tokens: _Count | None


class Exchange(Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """`exchange`: the call to a server."""

    fingerprint: str | None
    model: str | None
    request_digest: str


class Line(Struct, forbid_unknown_fields=True, frozen=True, gc=False, kw_only=True):
    """A line of ``records/``: record-1.json without what was recorded by others."""

    attempt: _Positive
    error: Annotated[str, Meta(min_length=1)] | None
    exchange: Exchange | UnsetType = UNSET
    finish_reason: Literal["stop", "length", "unknown"]
    outcome: Literal["ok", "empty", "refusal", "filtered", "error"]
    prev: str
    probe_digest: str
    probe_id: str
    prompt_ids: list[_Count]
    repeat: _Count
    request: Request
    request_digest: str
    salt: str
    seq: _Count
    subject: str
    suite: str
    text: str
    token_ids: list[_Count]
    usage: Usage


_decode = msgspec.json.Decoder(Line)
_encode = msgspec.json.Encoder()


def read_lines(block: bytes) -> list[Line] | None:
    """Return what whole lines say, or None where only a slow reader can tell.

    What fractions and texts look like, and how lines belong together, is not looked at.
    """
    try:
        rows = _decode.decode_lines(block)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return rows if _encode.encode_lines(rows) == block else None


def request_digest(row: Line) -> str:
    """Return the digest of a request, of a line that `read_lines` accepted."""
    return "sha256:" + hashlib.sha256(_encode.encode(row.request)).hexdigest()
