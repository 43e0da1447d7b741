"""Parquet files of data sets: a reply a row, read in batches, so that memory does not grow.

Columns are those of a record line (``probe_id``, ``prompt``, ``messages``, ``text``, ``repeat``,
...) or the usual names of data sets, the first that is there. ``messages`` holds a list of structs
with ``role`` and ``content``; where no column holds the reply, it is the last message, the
assistant's. ``?prompt=COLUMN&reply=COLUMN`` name them outright.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from auditor.canon import whole_json
from auditor.errors import MissingExtraError, RecordsError
from auditor.models.records.lines import MOST_LINE
from auditor.models.records.recording import Recording
from auditor.models.records.reply import RecordedReply, reply_from_json

PROMPTS = ("prompt", "instruction", "question", "input", "query")
REPLIES = ("text", "response", "reply", "completion", "output", "answer", "generated_text")
CHATS = ("messages", "conversation")
_WORDS = ("probe_id", "suite", "finish_reason", "outcome", "error", "model", "time")
_JSON = ("logprobs", "decoding")
_BUFFER = 1 << 20
"""Bytes read at a time; without it a whole group of rows is read, which may be the file."""
ROWS = 256
"""In a batch."""
_HINT = "name the columns: records:FILE.parquet?prompt=COLUMN&reply=COLUMN"


def read_parquet(path: Path, prompt: str | None = None, reply: str | None = None) -> Recording:
    """Return the replies of a parquet file.

    Args:
        path: the file.
        prompt: column of the prompts; None to find it by name.
        reply: column of the replies; None to find it by name.

    Raises:
        RecordsError: it is no parquet file, lacks a column, or one has a type that is not text;
            while reading, with the row: a value is missing or of another form.
        MissingExtraError: the extra ``records`` is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            "parquet files are read by pyarrow", hint="pip install 'auditor[records]'"
        ) from error
    try:
        file = pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise RecordsError(
            f"{path} cannot be read as parquet: {str(error).splitlines()[0]}",
            hint="check the path; a file that was cut off must be copied again",
        ) from error
    columns = _columns(path, file.schema_arrow, prompt, reply)
    read = ", ".join(f"{key} from {column!r}" for key, column in columns.items())
    note = f"Columns read: {read}; what other columns say about a prompt is not part of it."
    made = file.metadata.created_by or None
    return Recording(tool=made, entries=_entries(path, file, columns), notes=(note,))


def _columns(path: Path, schema: Any, prompt: str | None, reply: str | None) -> dict[str, str]:
    """Return {key of a record line: column}, each of a type that can be read."""
    names: list[str] = schema.names
    for wanted in (prompt, reply):
        if wanted is not None and wanted not in names:
            raise RecordsError(
                f"{path} has no column {wanted!r}", hint=f"its columns: {', '.join(names)}"
            )
    candidates = {
        "prompt": PROMPTS if prompt is None else (prompt,),
        "text": REPLIES if reply is None else (reply,),
        "messages": CHATS if prompt is None else (),
        **{key: (key,) for key in (*_WORDS, *_JSON, "repeat")},
    }
    present = {key: [one for one in known if one in names] for key, known in candidates.items()}
    found = {key: columns[0] for key, columns in present.items() if columns}
    if not {"prompt", "messages", "probe_id"} & set(found):
        raise RecordsError(
            f"{path} has no column of prompts or probe ids: {', '.join(names)}", hint=_HINT
        )
    if not {"text", "messages"} & set(found):
        raise RecordsError(f"{path} has no column of replies: {', '.join(names)}", hint=_HINT)
    for key, column in found.items():
        _check_type(path, key, schema.field(column))
    return found


def _check_type(path: Path, key: str, column: Any) -> None:
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if key == "repeat":
        fits = types.is_integer(kind)
    elif key == "messages":
        fits = (types.is_list(kind) or types.is_large_list(kind)) and types.is_struct(
            kind.value_type
        )
    else:
        fits = types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)
    if not fits:
        wanted = {"repeat": "whole numbers", "messages": "lists of {role, content}"}
        raise RecordsError(
            f"{path}: the column {column.name!r} is nested or of another type ({column.type}); "
            f"{wanted.get(key, 'texts')} are read",
            hint=f"flatten it, or {_HINT}",
        )


def _entries(path: Path, file: Any, columns: Mapping[str, str]) -> Iterator[RecordedReply]:
    import pyarrow

    number = 0
    with file:
        batches = file.iter_batches(batch_size=ROWS, columns=sorted(set(columns.values())))
        try:
            for batch in batches:
                if batch.nbytes > MOST_LINE * 4:
                    raise RecordsError(
                        f"{path}, rows {number + 1} to {number + len(batch)}: more than "
                        f"{MOST_LINE >> 18} MiB",
                        hint="write replies, not documents: a reply has a few thousand bytes",
                    )
                for row in batch.to_pylist():
                    number += 1
                    yield _reply(row, columns, f"{path}, row {number}")
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise RecordsError(
                f"{path}, after row {number}: {str(error).splitlines()[0]}",
                hint="the file is broken: copy it again",
            ) from error


def _reply(row: Mapping[str, Any], columns: Mapping[str, str], where: str) -> RecordedReply:
    line = {key: row[column] for key, column in columns.items() if row[column] is not None}
    for key in _JSON:
        if key in line:
            line[key] = _parsed(line[key], key, where)
    if "messages" in line:
        line["messages"] = [_message(one) for one in line["messages"]]
        turns = line["messages"]
        if "text" not in columns and turns and turns[-1].get("role") == "assistant":
            line["text"] = turns.pop()["content"]
    if line.get("outcome") != "error" and "text" not in line:
        raise RecordsError(f"{where}: no reply", hint=_HINT)
    reply = reply_from_json(line, where)
    return reply if "repeat" in columns else _unnumbered(reply)


def _unnumbered(reply: RecordedReply) -> RecordedReply:
    from dataclasses import replace

    return replace(reply, repeat=None)


def _message(one: Any) -> dict[str, Any]:
    known = one or {}
    return {"role": known.get("role"), "content": known.get("content")}


def _parsed(text: str, key: str, where: str) -> Any:
    try:
        return whole_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise RecordsError(
            f"{where}: {key} is not JSON ({error})", hint=f"leave out the column {key}"
        ) from error
