"""One recorded reply, and the line of JSON that holds it: ``reports/schema/records-1.json``.

A reply names its probe by id, or by what was asked: ``messages`` of a chat, or a ``prompt`` that
was continued. Keys that are not known here are ignored, so record lines of a case can be used as
they are; lines whose ``outcome`` is ``error`` hold no reply.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Never

from auditor.canon import LARGEST_INTEGER, json_digest
from auditor.errors import RecordsError
from auditor.types import Decoding, Message, Probe

FinishReason = Literal["stop", "length", "unknown"]
LINE_HINT = 'a line is like {"probe_id": "arith-0001", "text": "the reply", "repeat": 0}'
BESIDE = ("logprobs", "model", "decoding", "time")
"""Keys of a line that say how a reply was made."""
_ENDS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
}
_ROLES = ("system", "user", "assistant")
_ROUNDING = 1e-3
"""Log-probabilities are rounded by servers: so much above 0 is still a probability of 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedReply:
    """One reply, or the reason why there is none (`error`)."""

    text: str = ""
    repeat: int | None = 0
    """From 0; None where the file does not number them: they count in its order."""
    probe_id: str | None = None
    prompt: str | None = None
    messages: tuple[Message, ...] = ()
    suite: str | None = None
    finish_reason: FinishReason = "unknown"
    error: str | None = None
    logprobs: tuple[Mapping[str, Any], ...] | None = None
    """One entry a generated token, as OpenAI's ``logprobs.content``: ``token``, ``bytes``,
    ``logprob`` (natural, at most 0) and ``top_logprobs`` with the likeliest tokens at its place."""
    model: str | None = None
    """The model as the file names it; nothing here can check that."""
    decoding: Mapping[str, Any] | None = None
    time: str | None = None
    """When it was said, ISO 8601 as the file has it."""
    where: str = field(default="", compare=False)
    """``file, line 3`` or the like, for messages."""

    @property
    def asked(self) -> str | None:
        """The digest of what was asked, or None where only an id is known."""
        if self.messages:
            return messages_digest(self.messages)
        return None if self.prompt is None else json_digest(self.prompt)

    @property
    def name(self) -> str:
        """How a message names what was asked."""
        shown = self.probe_id or self.prompt or (self.messages and self.messages[-1].content)
        return repr((shown or "")[:80])


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """An entry of a file that is no reply to one prompt."""

    reason: str


def messages_digest(messages: tuple[Message, ...]) -> str:
    """Return the digest of the roles and contents of a chat."""
    return json_digest([[message.role, message.content] for message in messages])


def asked_by(probe: Probe) -> tuple[str, ...]:
    """Return the digests under which a reply to a probe may be recorded, the exact one first.

    A chat may also be recorded as the contents of its messages joined by newlines.
    """
    if probe.text is not None:
        return (json_digest(probe.text),)
    joined = "\n".join(message.content for message in probe.messages)
    return messages_digest(probe.messages), json_digest(joined)


def reply_as_json(reply: RecordedReply) -> dict[str, Any]:
    """Return the line of a reply, without what is not known of it."""
    values = {
        "probe_id": reply.probe_id,
        "suite": reply.suite,
        "prompt": reply.prompt,
        "messages": [{"role": m.role, "content": m.content} for m in reply.messages] or None,
        "text": reply.text,
        "repeat": reply.repeat,
        "finish_reason": reply.finish_reason,
        "outcome": "error" if reply.error is not None else "ok" if reply.text else "empty",
        "error": reply.error,
        "logprobs": None if reply.logprobs is None else [dict(at) for at in reply.logprobs],
        "model": reply.model,
        "decoding": None if reply.decoding is None else dict(reply.decoding),
        "time": reply.time,
    }
    return {name: value for name, value in values.items() if value is not None}


def reply_from_json(entry: Mapping[str, Any], where: str) -> RecordedReply:
    """Return the reply of a parsed line.

    Raises:
        RecordsError: what it needs is missing, or has another type; the message starts with
            `where`.
    """
    line = Line(entry, where)
    if all(entry.get(key) is None for key in ("probe_id", "prompt", "messages")):
        line.refuse("neither probe_id nor prompt nor messages")
    failed = entry.get("outcome") == "error"
    return RecordedReply(
        text="" if failed else line.text("text"),
        error=str(entry.get("error") or "the record says: error") if failed else None,
        finish_reason=finish_reason(entry.get("finish_reason")),
        logprobs=None if failed else line.logprobs("logprobs"),
        repeat=line.number("repeat"),
        probe_id=line.words("probe_id"),
        prompt=line.words("prompt"),
        messages=line.messages("messages"),
        suite=line.words("suite"),
        model=line.words("model"),
        decoding=line.settings("decoding"),
        time=line.words("time"),
        where=where,
    )


def finish_reason(value: Any) -> FinishReason:
    """Return why a reply ended, in our words."""
    return _ENDS.get(value, "unknown") if isinstance(value, str) else "unknown"


def known_decoding(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the settings of `Decoding` among those of another tool, or None without any.

    ``do_sample: false`` is greedy: temperature 0, whatever else is said.
    """
    names = {
        **{name: name for name in Decoding().as_json()},
        "max_tokens": "max_new_tokens",
        "max_completion_tokens": "max_new_tokens",
        "max_gen_toks": "max_new_tokens",
    }
    found = {
        ours: settings[theirs] for theirs, ours in names.items() if _is_number(settings.get(theirs))
    }
    if settings.get("do_sample") is False:
        found["temperature"] = 0
    return found or None


def _is_number(value: Any) -> bool:
    """Whether a value is a number that every JSON reader takes for the same."""
    return type(value) in (int, float) and abs(value) <= LARGEST_INTEGER


class Line:
    """A JSON object of a file, whose values are read with the place in the message."""

    def __init__(self, entry: Mapping[str, Any], where: str, hint: str = LINE_HINT) -> None:
        self._entry, self._where, self._hint = entry, where, hint

    def refuse(self, why: str) -> Never:
        """Raise the error of this line."""
        raise RecordsError(f"{self._where}: {why}", hint=self._hint)

    def text(self, key: str) -> str:
        """Return a text, maybe empty."""
        value = self._entry.get(key)
        if not isinstance(value, str):
            raise RecordsError(f"{self._where}: no {key}", hint=self._hint)
        return checked_text(value, self._where)

    def words(self, key: str) -> str | None:
        """Return a text that is not empty, or None where there is none."""
        value = self._entry.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise RecordsError(f"{self._where}: {key} is {value!r}, not a text", hint=self._hint)
        return checked_text(value, self._where)

    def number(self, key: str) -> int:
        """Return a whole number from 0 on; 0 where there is none."""
        value = self._entry.get(key, 0)
        if type(value) is not int or not 0 <= value <= LARGEST_INTEGER:
            raise RecordsError(
                f"{self._where}: {key} is {value!r}, not a number from 0 on", hint=self._hint
            )
        return value

    def settings(self, key: str) -> dict[str, Any] | None:
        """Return the decoding settings of an object, or None where there is none."""
        value = self._entry.get(key)
        if value is not None and not isinstance(value, dict):
            self.refuse(f"{key} is {value!r}, not an object of settings")
        return None if value is None else known_decoding(value)

    def messages(self, key: str) -> tuple[Message, ...]:
        """Return the messages of a chat; none where there are none."""
        value = self._entry.get(key)
        return () if value is None else read_messages(value, self._where, self._hint)

    def logprobs(self, key: str) -> tuple[dict[str, Any], ...] | None:
        """Return the log-probabilities of the generated tokens, or None where there are none."""
        return read_logprobs(self._entry.get(key), self._where)


def checked_text(text: str, where: str) -> str:
    """Return a text that UTF-8 can hold.

    Raises:
        RecordsError: an escape names half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RecordsError(
            f"{where}: an escape names half of a surrogate pair",
            hint="write the file again as UTF-8, without such escapes",
        ) from error
    return text


def read_messages(value: Any, where: str, hint: str = LINE_HINT) -> tuple[Message, ...]:
    """Return the messages of a chat.

    Raises:
        RecordsError: they are no list of objects with a known role and a text.
    """
    if not isinstance(value, list) or not value:
        raise RecordsError(f"{where}: messages are no list of messages", hint=hint)
    found = []
    for one in value:
        role, content = (one.get("role"), one.get("content")) if isinstance(one, dict) else (0, 0)
        if role not in _ROLES or not isinstance(content, str):
            raise RecordsError(
                f"{where}: a message with the role {role!r} whose content is "
                f"{'text' if isinstance(content, str) else 'no text'}",
                hint="messages have the role system, user or assistant and a text",
            )
        found.append(Message(role=role, content=checked_text(content, where)))
    return tuple(found)


def read_logprobs(value: Any, where: str) -> tuple[dict[str, Any], ...] | None:
    """Return the entries of OpenAI's ``logprobs.content``, or of the object around it.

    Raises:
        RecordsError: they have another form, or a value is no log-probability.
    """
    listed = value.get("content") if isinstance(value, dict) else value
    if listed is None:
        return None
    try:
        return tuple(_token(entry, top=True) for entry in listed)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RecordsError(
            f"{where}: logprobs have another form: {type(error).__name__} {error}",
            hint='a token is like {"token": "a", "bytes": [97], "logprob": -0.5, '
            '"top_logprobs": []}; leave logprobs out to use the text alone',
        ) from error


def _token(entry: Mapping[str, Any], *, top: bool) -> dict[str, Any]:
    shown, raw, number = entry["token"], entry.get("bytes"), float(entry["logprob"])
    if not isinstance(shown, str) or math.isnan(number) or number > _ROUNDING:
        raise ValueError(f"{entry['logprob']!r} of {shown!r} is no log-probability")
    if not isinstance(raw, list | None):
        raise TypeError(f"the bytes of {shown!r} are no list")
    shown.encode()  # half of a surrogate pair is a ValueError
    # -9999 and the like stand for "not among the top"; JSON has no infinity.
    found: dict[str, Any] = {"token": shown, "logprob": max(min(number, 0.0), -9999.0)}
    found["bytes"] = None if raw is None else list(bytes(raw))
    if top:
        found["top_logprobs"] = [_token(o, top=False) for o in entry.get("top_logprobs") or ()]
    return found
