"""Output of OpenAI's Batch API: a line a request, and the input file for what was asked.

Lines are ``BatchRequestOutput`` and ``BatchRequestInput`` of OpenAI's OpenAPI specification 2.3.0:
``{"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error"}`` and
``{"custom_id", "method", "url", "body"}``. Outputs come in any order. Bodies are those of
``/v1/chat/completions`` or ``/v1/completions``. Without the input file a reply is known by its
``custom_id`` alone, which must then be the id of a probe.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auditor.errors import RecordsError
from auditor.models.records.lines import json_lines
from auditor.models.records.recording import Recording
from auditor.models.records.reply import (
    RecordedReply,
    checked_text,
    finish_reason,
    known_decoding,
    read_logprobs,
    read_messages,
)
from auditor.types import Message

_HINT = (
    "give the batch's output file: a line has custom_id, response and error; what was asked is in "
    "its input file: records:OUTPUT.jsonl?prompts=INPUT.jsonl"
)
_INPUT_HINT = "prompts= names the batch's input file: a line has custom_id, url and body"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a request of the input file asked."""

    prompt: str | None = None
    messages: tuple[Message, ...] = ()
    decoding: Mapping[str, Any] | None = None


def read_batch(path: Path, prompts: Path | None = None) -> Recording:
    """Return the replies of a batch.

    The requests of the input file are held in memory: the API takes 50,000 at most.

    Raises:
        RecordsError: the input file is malformed; while reading, with the line: a field is missing,
            a custom_id is there twice or is not in the input file, the body is of another API.
    """
    asked = None if prompts is None else _requests(prompts)
    notes = () if prompts else ("The batch's input file was not given: prompts are not known.",)
    return Recording(entries=_entries(path, asked), notes=notes)


def _requests(path: Path) -> dict[str, _Asked]:
    found: dict[str, _Asked] = {}
    for where, line in json_lines(path, _INPUT_HINT):
        name, body = line.get("custom_id"), line.get("body")
        if not isinstance(name, str) or not isinstance(body, dict):
            raise RecordsError(f"{where}: no custom_id or no body", hint=_INPUT_HINT)
        if name in found:
            raise RecordsError(f"{where}: custom_id {name!r} is there twice", hint=_INPUT_HINT)
        found[name] = _request(where, body)
    return found


def _request(where: str, body: Mapping[str, Any]) -> _Asked:
    decoding = known_decoding(body)
    if "messages" in body:
        listed = body["messages"]
        chat = [_plain(message) for message in listed] if isinstance(listed, list) else listed
        return _Asked(messages=read_messages(chat, where, _INPUT_HINT), decoding=decoding)
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise RecordsError(
            f"{where}: the body has neither messages nor a prompt of one text",
            hint="requests to /v1/chat/completions and /v1/completions are read, no others",
        )
    return _Asked(prompt=checked_text(prompt, where), decoding=decoding)


def _plain(message: Any) -> Any:
    """Return a message with its text parts joined; anything else as it is, to be refused."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    known = [text for text in texts if isinstance(text, str)]
    return {**message, "content": "".join(known) if len(known) == len(texts) else None}


def _entries(path: Path, asked: Mapping[str, _Asked] | None) -> Iterator[RecordedReply]:
    seen: set[str] = set()
    for where, line in json_lines(path, _HINT):
        name = line.get("custom_id")
        if not isinstance(name, str) or not name:
            raise RecordsError(f"{where}: no custom_id", hint=_HINT)
        if name in seen:
            raise RecordsError(f"{where}: custom_id {name!r} is there twice", hint=_HINT)
        seen.add(name)
        yield from _replies(where, line, _about(where, name, asked))


def _about(where: str, name: str, asked: Mapping[str, _Asked] | None) -> RecordedReply:
    if asked is None:
        return RecordedReply(probe_id=checked_text(name, where), repeat=None, where=where)
    request = asked.get(name)
    if request is None:
        raise RecordsError(
            f"{where}: custom_id {name!r} is not in the input file",
            hint="name the input file of this very batch: prompts=INPUT.jsonl",
        )
    return RecordedReply(
        prompt=request.prompt,
        messages=request.messages,
        decoding=request.decoding,
        repeat=None,
        where=where,
    )


def _replies(where: str, line: Mapping[str, Any], about: RecordedReply) -> Iterator[RecordedReply]:
    response = line.get("response")
    if line.get("error") is not None or not isinstance(response, dict):
        if "error" not in line and "response" not in line:
            raise RecordsError(f"{where}: neither response nor error", hint=_HINT)
        yield replace(about, error=f"the batch says: {_reason(line.get('error'))}")
        return
    body = response.get("body")
    if response.get("status_code") != 200 or not isinstance(body, dict):
        reason = _reason(body.get("error") if isinstance(body, dict) else None)
        yield replace(about, error=f"status {response.get('status_code')}: {reason}")
        return
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise RecordsError(
            f"{where}: the body has no choices",
            hint="replies of /v1/chat/completions and /v1/completions are read, no others",
        )
    created, model = body.get("created"), body.get("model")
    if type(created) is int and 0 <= created < 2**35:
        about = replace(about, time=datetime.fromtimestamp(created, UTC).isoformat())
    if isinstance(model, str) and model:
        about = replace(about, model=checked_text(model, where))
    for choice in choices:
        yield _choice(where, choice, about)


def _choice(where: str, choice: Any, about: RecordedReply) -> RecordedReply:
    if not isinstance(choice, dict):
        raise RecordsError(f"{where}: a choice is no object", hint=_HINT)
    message = choice.get("message")
    if isinstance(message, dict):
        # A refusal is what the model said, in a field of its own.
        text = message.get("refusal") if message.get("content") is None else message["content"]
    else:
        text = choice.get("text")
    if not text and isinstance(message, dict) and message.get("tool_calls"):
        return replace(about, error="the model called a tool")
    if not isinstance(text, str):
        raise RecordsError(f"{where}: a choice without text", hint=_HINT)
    logprobs = choice.get("logprobs")
    chat_form = isinstance(logprobs, dict) and "content" in logprobs
    return replace(
        about,
        text=checked_text(text, where),
        finish_reason=finish_reason(choice.get("finish_reason")),
        logprobs=read_logprobs(logprobs, where) if chat_form else None,
    )


def _reason(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("message") or error.get("code")
    return str(error)[:500] if error else "no reason given"
