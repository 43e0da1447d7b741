"""Samples of the lm-evaluation-harness, as ``--log_samples`` writes them: a line a document.

Raw replies are ``resps`` (a list of the repeats); what filters made of them is not used, and a line
that repeats a document for another filter is passed over. Log-likelihoods of given choices are no
replies.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from auditor.errors import RecordsError
from auditor.models.records.lines import json_lines
from auditor.models.records.recording import Recording
from auditor.models.records.reply import (
    RecordedReply,
    Unusable,
    checked_text,
    known_decoding,
    read_messages,
)

_HINT = (
    "give a samples_TASK_DATE.jsonl that lm_eval wrote with --log_samples: a line has doc_id, "
    "arguments and resps"
)
_NOTE = (
    "lm_eval cuts replies at its stop words; a chat template that it applied is part of the prompt."
)


def read_lm_eval(path: Path) -> Recording:
    """Return the replies of a samples file.

    Raises:
        RecordsError: while reading, with the line: malformed, a field is missing, or a document is
            there twice.
    """
    return Recording(entries=_entries(path), notes=(_NOTE,))


def _entries(path: Path) -> Iterator[RecordedReply | Unusable]:
    seen: set[str] = set()
    first: Any = None
    for number, (where, line) in enumerate(json_lines(path, _HINT)):
        for key in ("doc_id", "arguments", "resps"):
            if key not in line:
                raise RecordsError(f"{where}: no {key}", hint=_HINT)
        made = line.get("filter")
        first = made if number == 0 else first
        if made != first:
            continue
        document = json.dumps(line["doc_id"])
        if document in seen:
            raise RecordsError(f"{where}: doc_id {document} is there twice", hint=_HINT)
        seen.add(document)
        yield from _replies(where, line)


def _replies(where: str, line: dict[str, Any]) -> Iterator[RecordedReply | Unusable]:
    asked = _arguments(where, line["arguments"])
    if len(asked) != 1 or not isinstance(asked[0][1], Mapping):
        yield Unusable(reason="log-likelihoods of given texts, nothing was generated")
        return
    prompt, settings = asked[0]
    said = line["resps"]
    if not isinstance(said, list) or len(said) != 1 or not isinstance(said[0], list):
        raise RecordsError(f"{where}: resps is no list of one list of replies", hint=_HINT)
    chat = _chat(prompt, where)
    for text in said[0]:
        if not isinstance(text, str):
            raise RecordsError(f"{where}: a reply in resps is no text", hint=_HINT)
        yield RecordedReply(
            text=checked_text(text, where),
            repeat=None,
            prompt=None if chat else checked_text(prompt, where),
            messages=chat,
            decoding=known_decoding(settings),
            where=where,
        )


def _arguments(where: str, value: Any) -> list[tuple[str, Any]]:
    """Return (prompt, rest) of each request; older releases wrote lists instead of objects."""
    requests = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(requests, list) or not requests:
        raise RecordsError(f"{where}: arguments hold no request", hint=_HINT)
    found = []
    for request in requests:
        parts = list(request.values()) if isinstance(request, dict) else request
        prompt = parts[0] if isinstance(parts, list) and parts else None
        if isinstance(prompt, list) and len(prompt) == 1:  # a chat, wrapped
            prompt = prompt[0]
        if not isinstance(prompt, str) or not prompt:
            raise RecordsError(f"{where}: arguments hold no prompt", hint=_HINT)
        found.append((prompt, parts[1] if len(parts) > 1 else None))
    return found


def _chat(prompt: str, where: str) -> Any:
    """Return the messages where the prompt is a chat in JSON, as for chat endpoints; else ()."""
    if not prompt.startswith("[{"):
        return ()
    try:
        turns = json.loads(prompt)
    except (ValueError, RecursionError):
        return ()
    if not all(isinstance(turn, dict) and "role" in turn for turn in turns):
        return ()
    return read_messages(turns, where, _HINT)
