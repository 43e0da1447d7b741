"""The wire format of OpenAI-compatible servers: requests for a reply, and what comes back.

Log-probabilities come in two forms. Chats list ``content`` with the bytes of every token; text
completions list strings (some servers answer both in the first form). Where a server makes the
bytes from a string, a part of a character looks like the token for the sign U+FFFD; one that shows
bytes which are no text has them from its vocabulary: see `shows_raw_bytes`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from auditor.canon import whole_json
from auditor.errors import ServerError
from auditor.types import Decoding, Probe

CHAT, TEXT = "/chat/completions", "/completions"
REPLACED = b"\xef\xbf\xbd"
"""U+FFFD, which stands for bytes that are no text."""
MALFORMED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What reading an answer of another form raises: it holds any JSON."""
_ROUNDING = 1e-3
"""Log-probabilities are rounded by servers: so much above 0 is still a probability of 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likely:
    """A token that was likely at a position."""

    piece: bytes
    shown: str
    """As the server writes it."""
    logprob: float
    """Natural logarithm, at most 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A generated token, and the likeliest at its place."""

    chosen: Likely
    top: tuple[Likely, ...]
    """By falling probability; the chosen one may be among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer of a server."""

    text: str
    finish_reason: Literal["stop", "length", "unknown"]
    positions: tuple[Position, ...] | None
    """None where no log-probabilities came."""
    outcome: Literal["ok", "refusal", "filtered"] = "ok"
    """``refusal``: the server marks the text as one. ``filtered``: it withheld or cut it."""


def request_body(
    probe: Probe, model: str, decoding: Decoding, seed: int, top_logprobs: int | None
) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a request for one reply.

    ``top_k`` is no part of the API and is sent only where it is asked for: servers that do not know
    it refuse it, and that is said.
    """
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": decoding.max_new_tokens,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "seed": seed,
    }
    if decoding.top_k > 0:
        body["top_k"] = decoding.top_k
    if probe.kind == "text":
        asked = {} if top_logprobs is None else {"logprobs": top_logprobs}
        return TEXT, {**body, "prompt": probe.text, **asked}
    messages = [{"role": message.role, "content": message.content} for message in probe.messages]
    wanted = {} if top_logprobs is None else {"logprobs": True, "top_logprobs": top_logprobs}
    return CHAT, {**body, "messages": messages, **wanted}


def read_reply(content: dict[str, Any]) -> Reply:
    """Return the first choice of a reply.

    Raises:
        ServerError: it has another form.
    """
    try:
        choice = content["choices"][0]
        refused = choice.get("message", {}).get("refusal")
        text = choice["message"].get("content") if "message" in choice else choice["text"]
        reason = choice.get("finish_reason")
        positions = _positions(choice.get("logprobs"))
    except MALFORMED as error:
        raise ServerError(
            f"the reply is not that of an OpenAI-compatible server: {type(error).__name__} {error}",
            hint="check base_url; the reply stands in exchanges.jsonl",
        ) from error
    if text is not None and not isinstance(text, str):
        raise ServerError(f"the reply's text is {type(text).__name__}, not text")
    marked: Literal["ok", "refusal", "filtered"] = "ok"
    if reason == "content_filter":
        marked = "filtered"
    elif isinstance(refused, str) and refused and not text:
        marked = "refusal"
    return Reply(
        text=refused if marked == "refusal" else text or "",
        finish_reason=reason if reason in ("stop", "length") else "unknown",
        positions=positions,
        outcome=marked,
    )


def reply_content(body: bytes) -> dict[str, Any] | None:
    """Return the object in the body of an answer; None where it holds no reply that can be read."""
    try:
        content = _nested_whole(json.loads(body), _ROOM)
        if not isinstance(content, dict):
            return None
        read_reply(content)
    except (ValueError, RecursionError, ServerError):
        return None
    return content


_ROOM = 300
"""Calls under way where a reply is read again: no more of them than where it was received."""


def _nested_whole(value: Any, calls: int) -> Any:
    """Return `whole_json` of a value, read below so many calls: a nested one fails here, if ever.

    Once it is in a log, it is read wherever its text is needed.
    """
    return _nested_whole(value, calls - 1) if calls else whole_json(value)


def shows_raw_bytes(reply: Reply) -> bool:
    """Say whether a token of the reply has bytes that are no text by themselves."""
    tokens = (t for at in reply.positions or () for t in (at.chosen, *at.top))
    return any(not _is_text(token.piece) for token in tokens)


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def _positions(logprobs: Any) -> tuple[Position, ...] | None:
    if not logprobs:
        return None
    if "content" in logprobs:
        return chat_positions(logprobs["content"])
    if logprobs.get("top_logprobs") is None:
        return None
    return tuple(
        _text_position(token, value, top)
        for token, value, top in zip(
            logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
        )
        if value is not None  # the first token of a text that is given back
    )


def chat_positions(listed: Sequence[Mapping[str, Any]] | None) -> tuple[Position, ...] | None:
    """Return the positions of ``logprobs.content`` of a chat, which record lines hold as well."""
    return None if listed is None else tuple(map(_chat_position, listed))


def _chat_position(entry: Mapping[str, Any]) -> Position:
    top = [_chat_token(other) for other in entry.get("top_logprobs") or []]
    return Position(chosen=_chat_token(entry), top=_falling(top))


def _chat_token(entry: Mapping[str, Any]) -> Likely:
    shown, raw = entry["token"], entry.get("bytes")
    # A number instead of a list would be that of zeros to make.
    piece = shown.encode() if raw is None else bytes([*raw])
    return Likely(piece=piece, shown=str(shown), logprob=logprob(entry["logprob"]))


def _text_position(token: str, value: float, top: dict[str, float] | None) -> Position:
    others = [_text_token(shown, logprob) for shown, logprob in (top or {}).items()]
    return Position(chosen=_text_token(token, value), top=_falling(others))


def _text_token(shown: str, value: float) -> Likely:
    return Likely(piece=shown.encode(), shown=shown, logprob=logprob(value))


def _falling(tokens: list[Likely]) -> tuple[Likely, ...]:
    return tuple(sorted(tokens, key=lambda token: -token.logprob))


def logprob(value: Any) -> float:
    """Return a value of a reply as a log-probability, at most 0.

    Raises:
        OverflowError, TypeError, ValueError: it is none.
    """
    number = float(value)
    if math.isnan(number) or number > _ROUNDING:
        raise ValueError(f"{number} is no log-probability")
    return min(number, 0.0)
