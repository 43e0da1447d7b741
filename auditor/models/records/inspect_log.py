"""Logs of inspect_ai, ``.eval`` and ``.json``: one reply a sample, epoch and choice.

The format is that of `inspect_ai.log.EvalLog`, version 2. What the model was given are the messages
before its own last one; a sample in which it spoke more than once, or called a tool, is no reply to
one prompt and is counted as unusable.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from auditor.errors import RecordsError
from auditor.models.records.eval_archive import EvalArchive
from auditor.models.records.lines import parsed_object, unreadable
from auditor.models.records.recording import Recording
from auditor.models.records.reply import (
    RecordedReply,
    Unusable,
    checked_text,
    finish_reason,
    known_decoding,
    read_logprobs,
    read_messages,
)

VERSION = 2
MOST_JSON = 1 << 29
"""Bytes of a ``.json`` log, which is read as a whole."""
_HINT = "give the .eval or .json file that inspect_ai wrote; another version: inspect log convert"
_ATTACHMENT = "attachment://"
_EPOCH = re.compile(r"_epoch_([0-9]{1,9})\.json$")


def read_eval(path: Path) -> Recording:
    """Return the replies of an ``.eval`` file; a sample is read when its turn comes.

    Raises:
        RecordsError: it is no such file, of another version, broken, or hostile.
        MissingExtraError: it is packed with Zstandard and the extra ``records`` is missing.
    """
    archive = EvalArchive(path)
    try:
        # An id may hold "/", or a line break.
        names = [n for n in archive.names if n.startswith("samples/") and n.endswith(".json")]
        head = next((n for n in ("header.json", "_journal/start.json") if n in archive.names), None)
        if head is None:
            raise RecordsError(f"{path}: a zip without header.json: no .eval log", hint=_HINT)
        log = _Log(path, _member(archive, path, head))
    except BaseException:
        archive.close()
        raise
    return log.recording(_members(archive, path, log, names))


def read_json_log(path: Path) -> Recording:
    """Return the replies of a ``.json`` log.

    Raises:
        RecordsError: it is no such file, of another version, or larger than `MOST_JSON`.
    """
    try:
        if path.stat().st_size > MOST_JSON:
            raise RecordsError(
                f"{path}: longer than {MOST_JSON >> 20} MiB, and JSON is read as a whole",
                hint="write it as .eval: inspect log convert FILE --to eval --output-dir DIR",
            )
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise RecordsError(f"{path} is not UTF-8: byte {error.start}", hint=_HINT) from error
    content = parsed_object(text, str(path), _HINT)
    log = _Log(path, content)
    samples = content.get("samples") or []
    if not isinstance(samples, list) or not all(isinstance(one, dict) for one in samples):
        raise RecordsError(f"{path}: samples are no list of objects", hint=_HINT)
    ordered = sorted(enumerate(samples), key=lambda one: (_epoch(one[1]), one[0]))
    return log.recording((f"{path}, sample {at + 1}", one) for at, one in ordered)


def _member(archive: EvalArchive, path: Path, name: str) -> dict[str, Any]:
    try:
        text = archive.read(name).decode()
    except UnicodeDecodeError as error:
        raise RecordsError(f"{path}, {name}: not UTF-8 (byte {error.start})", hint=_HINT) from error
    return parsed_object(text, f"{path}, {name}", _HINT)


def _members(
    archive: EvalArchive, path: Path, log: "_Log", names: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    del log
    with archive:
        # Samples lie in the order in which they ended.
        for name in sorted(names, key=lambda n: int(m[1]) if (m := _EPOCH.search(n)) else 0):
            yield f"{path}, {name}", _member(archive, path, name)


def _epoch(sample: Mapping[str, Any]) -> int:
    epoch = sample.get("epoch", 1)
    return epoch if type(epoch) is int else 0


class _Log:
    """The header of a log."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        version = header.get("version")
        if version != VERSION:
            raise RecordsError(
                f"{path}: an inspect_ai log of version {version!r}; read is {VERSION}", hint=_HINT
            )
        about = header.get("eval")
        named = about.get("model") if isinstance(about, dict) else None
        if not isinstance(about, dict) or not isinstance(named, str) or not named:
            raise RecordsError(f"{path}: the log names no model (eval.model)", hint=_HINT)
        plan = header.get("plan")
        config = plan.get("config") if isinstance(plan, dict) else None
        settings = {**_object(about.get("model_generate_config")), **_object(config)}
        release = _object(about.get("packages")).get("inspect_ai", "of unknown version")
        self.model = checked_text(named, str(path))
        self.tool = checked_text(f"inspect_ai {release}", str(path))
        self.decoding = known_decoding(settings)
        status = header.get("status", "not ended")
        self.notes = () if status == "success" else (f"The run's status is {status!a}.",)

    def recording(self, samples: Iterator[tuple[str, dict[str, Any]]]) -> Recording:
        """Return the replies of the samples."""
        return Recording(tool=self.tool, entries=self._entries(samples), notes=self.notes)

    def _entries(
        self, samples: Iterator[tuple[str, dict[str, Any]]]
    ) -> Iterator[RecordedReply | Unusable]:
        seen: set[tuple[str, int]] = set()
        for where, sample in samples:
            key = (json.dumps(sample.get("id")), _epoch(sample))
            if key in seen:
                raise RecordsError(
                    f"{where}: the sample {key[0]} of epoch {key[1]} is there twice", hint=_HINT
                )
            seen.add(key)
            yield from self._sample(where, sample)

    def _sample(self, where: str, sample: dict[str, Any]) -> Iterator[RecordedReply | Unusable]:
        asked = _asked(where, sample)
        if isinstance(asked, Unusable):
            yield asked
            return
        reply = RecordedReply(
            messages=read_messages(asked, where, _HINT),
            repeat=None,
            model=self.model,
            decoding=self.decoding,
            time=_time(sample, where),
            where=where,
        )
        yield from _replies(where, sample, reply)


def _replies(
    where: str, sample: dict[str, Any], about: RecordedReply
) -> Iterator[RecordedReply | Unusable]:
    from dataclasses import replace

    choices = _object(sample.get("output")).get("choices")
    if sample.get("error") or not choices:
        reason = _object(sample.get("error")).get("message", "the output has no choice")
        yield replace(about, error=str(reason)[:500])
        return
    if not isinstance(choices, list):
        raise RecordsError(f"{where}: the choices of the output are no list", hint=_HINT)
    for choice in map(_object, choices):
        message = _object(choice.get("message"))
        if message.get("tool_calls"):
            yield Unusable(reason="the model called a tool")
            continue
        text = _content(message.get("content"), sample, reply=True)
        if text is None:
            raise RecordsError(f"{where}: a choice without text", hint=_HINT)
        yield replace(
            about,
            text=checked_text(text, where),
            finish_reason=finish_reason(choice.get("stop_reason")),
            logprobs=read_logprobs(choice.get("logprobs"), where),
        )


def _asked(where: str, sample: dict[str, Any]) -> list[dict[str, Any]] | Unusable:
    """Return the messages that the model was given, or why there is no one prompt."""
    messages = sample.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RecordsError(f"{where}: no messages", hint=_HINT)
    turns = [_object(message) for message in messages]
    if turns[-1].get("role") == "assistant":
        turns.pop()
    if any(turn.get("role") == "tool" or turn.get("tool_calls") for turn in turns):
        return Unusable(reason="the model called a tool")
    if any(turn.get("role") == "assistant" and turn.get("source") != "input" for turn in turns):
        return Unusable(reason="the model was asked several times in one sample")
    asked = []
    for turn in turns:
        text = _content(turn.get("content"), sample)
        if text is None:
            return Unusable(reason="the prompt holds more than text")
        asked.append({"role": turn.get("role"), "content": text})
    return asked or Unusable(reason="nothing was asked")


def _content(value: Any, sample: dict[str, Any], *, reply: bool = False) -> str | None:
    """Return the text of a message; None where it is not text alone. Reasoning is left out."""
    if isinstance(value, str):
        attached = _object(sample.get("attachments"))
        found = attached.get(value.removeprefix(_ATTACHMENT), value)
        return found if value.startswith(_ATTACHMENT) and isinstance(found, str) else value
    if not isinstance(value, list):
        return None
    parts = [_object(part) for part in value]
    if reply:
        parts = [part for part in parts if part.get("type") != "reasoning"]
    if any(part.get("type") != "text" for part in parts):
        return None
    return "".join(str(part.get("text", "")) for part in parts)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _time(sample: dict[str, Any], where: str) -> str | None:
    value = sample.get("completed_at") or sample.get("started_at")
    return checked_text(value, where) if isinstance(value, str) and value else None
