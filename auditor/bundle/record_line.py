"""Record lines read many at once: of the types of their schema, and spelled as RFC 8785 has it.

What is accepted here is right as far as types and spelling go; the rest is a question to the slow
readers, which also say what is wrong. A case has hundred thousands of these lines. Fractions and
patterns are not looked at: `auditor.bundle.replies` has the first line of each kind checked whole.
"""

import hashlib
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from auditor.canon import LARGEST_INTEGER

_Count: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)]
_Positive: TypeAlias = Annotated[int, Meta(ge=1, le=LARGEST_INTEGER)]
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
    """A line of ``records/``: record-1.json without what was recorded by others.

    What the repeats of a probe have in common is left as it is spelled: see `read_request`.
    """

    attempt: _Positive
    error: Annotated[str, Meta(min_length=1)] | None
    exchange: Exchange | UnsetType = UNSET
    finish_reason: Literal["stop", "length", "unknown"]
    outcome: Literal["ok", "empty", "refusal", "filtered", "error"]
    prev: str
    probe_digest: str
    probe_id: str
    prompt_ids: Raw
    repeat: _Count
    request: Raw
    request_digest: str
    salt: str
    seq: _Count
    subject: str
    suite: str
    text: str
    token_ids: list[_Count]
    usage: Usage


_lines = msgspec.json.Decoder(Line).decode_lines
_request = msgspec.json.Decoder(Request).decode
_ids = msgspec.json.Decoder(list[_Count]).decode
_encoder = msgspec.json.Encoder()
_REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_lines(block: bytes) -> list[Line] | None:
    """Return what whole lines say, or None where only a slow reader can tell.

    What fractions and texts look like, and how lines belong together, is not looked at.
    """
    try:
        rows = _lines(block)
    except _REFUSED:
        return None
    return rows if _encoder.encode_lines(rows) == block else None


def read_request(row: Line) -> Request | None:
    """Return the request of a line, or None where it or ``prompt_ids`` is not plainly right."""
    try:
        request, ids = _request(row.request), _ids(row.prompt_ids)
    except _REFUSED:
        return None
    spelled = (_encoder.encode(request), _encoder.encode(ids))
    return request if spelled == (bytes(row.request), bytes(row.prompt_ids)) else None


def request_digest(row: Line) -> str:
    """Return the digest of a request that `read_request` accepted."""
    return "sha256:" + hashlib.sha256(row.request).hexdigest()
