"""Parquet files of data sets: a reply a row, read in batches, so that memory does not grow.

Columns are those of a record line (``probe_id``, ``prompt``, ``messages``, ``text``, ``repeat``,
...) or the usual names of data sets, the first that is there; one of another type that can be done
without is left out. ``messages`` holds a list of structs with ``role`` and ``content``; where no
column holds the reply, it is the last message, the assistant's. ``?prompt=COLUMN&reply=COLUMN``
name them outright.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from auditor.canon import whole_json
from auditor.errors import MissingExtraError, RecordsError
from auditor.models.records.lines import MOST_LINE
from auditor.models.records.parquet_columns import HINT, JSON, chosen_columns
from auditor.models.records.parquet_pages import largest_row
from auditor.models.records.recording import Recording
from auditor.models.records.reply import RecordedReply, reply_from_json

_BUFFER = 1 << 20
"""Bytes read at a time; without it a whole group of rows is read, which may be the file."""
MOST_ROW = MOST_LINE * 4
"""Bytes that a row, or a page of each column, may take when it is unpacked."""
BATCH = MOST_LINE // 2
"""Bytes of the rows that are decoded together, unless a single one takes more."""
ROWS = 256
"""In a batch, at most."""


def read_parquet(path: Path, prompt: str | None = None, reply: str | None = None) -> Recording:
    """Return the replies of a parquet file.

    Args:
        path: the file.
        prompt: column of the prompts; None to find it by name.
        reply: column of the replies; None to find it by name.

    Raises:
        RecordsError: it is no parquet file, lacks a column, one has a type that is not text, or its
            pages are too large; while reading, with the row: a value is missing or of another form,
            or the row is longer than a line may be.
        MissingExtraError: the extra ``records`` is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "parquet files are read by pyarrow", hint="pip install 'auditor[records]'"
        ) from error
    with _opened(path) as file:
        columns = chosen_columns(path, file.schema_arrow, prompt, reply)
        leaves = {leaf for leaf in _leaves(file) if _is_of(leaf, columns.read)}
        made = file.metadata.created_by or None
        batch = _batch_rows(path, file.metadata, leaves)
    rows = _rows(path, leaves, batch)
    entries = (_reply(row, columns.read, f"{path}, row {at}") for at, row in enumerate(rows, 1))
    return Recording(tool=made, entries=entries, notes=(columns.note,))


def _opened(path: Path) -> Any:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise RecordsError(
            f"{path} cannot be read as parquet: {str(error).splitlines()[0]}",
            hint="check the path; a file that was cut off must be copied again",
        ) from error


def _leaves(file: Any) -> list[str]:
    return [file.schema.column(at).path for at in range(len(file.schema.names))]


def _is_of(leaf: str, columns: Mapping[str, str]) -> bool:
    """Whether a column of the file's schema is read: itself, or as a part of the messages."""
    chat = columns.get("messages")
    inside = chat is not None and leaf.startswith(f"{chat}.")
    return leaf in columns.values() or (inside and leaf.endswith((".role", ".content")))


def _batch_rows(path: Path, metadata: Any, leaves: set[str]) -> int:
    """Return how many rows can be decoded at a time.

    Raises:
        RecordsError: not even one can.
    """
    try:
        most = largest_row(path, metadata, leaves)
    except (ValueError, OSError) as error:
        raise _broken(path, 0, error) from error
    if most > MOST_ROW:
        raise RecordsError(
            f"{path}: a row may take {most >> 20:,} MiB when it is unpacked, more than "
            f"{MOST_ROW >> 20}",
            hint="write it again in small groups of rows: "
            "pandas.read_parquet(FILE).to_parquet(NEW, row_group_size=100)",
        )
    return max(1, min(ROWS, BATCH // max(most, 1)))


def _rows(path: Path, leaves: set[str], size: int) -> Iterator[dict[str, Any]]:
    """Yield the values of each row by column, converted when its turn comes."""
    import pyarrow

    number = 0
    with _opened(path) as file:
        try:
            for batch in file.iter_batches(batch_size=size, columns=sorted(leaves)):
                for at in range(len(batch)):
                    values = {name: batch.column(name)[at] for name in batch.schema.names}
                    row = _row(path, number + 1, values)
                    number += 1
                    yield row
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _broken(path, number, error) from error


def _row(path: Path, number: int, values: Mapping[str, Any]) -> dict[str, Any]:
    if sum(map(_size, values.values())) > MOST_LINE:
        raise RecordsError(
            f"{path}, row {number}: more than {MOST_LINE >> 20} MiB",
            hint="write replies, not documents: a reply has a few thousand bytes",
        )
    return {name: value.as_py() for name, value in values.items()}


def _size(value: Any) -> int:
    """Return the bytes of a text, or of the texts of a chat, before it is converted."""
    import pyarrow

    if not value.is_valid:
        return 0
    if isinstance(value, pyarrow.DictionaryScalar):
        value = value.value
    if isinstance(value, pyarrow.ListScalar):
        return sum(_size(part) for turn in value if turn.is_valid for part in turn.values())
    return int(value.as_buffer().size) if isinstance(value, pyarrow.BinaryScalar) else 0


def _broken(path: Path, row: int, error: Exception) -> RecordsError:
    return RecordsError(
        f"{path}, after row {row}: {str(error).splitlines()[0]}",
        hint="the file is broken: copy it again",
    )


def _reply(row: Mapping[str, Any], columns: Mapping[str, str], where: str) -> RecordedReply:
    line = {key: row[column] for key, column in columns.items() if row[column] is not None}
    for key in JSON:
        if key in line:
            line[key] = _parsed(line[key], key, where)
    if "messages" in line:
        line["messages"] = [_message(one) for one in line["messages"]]
        turns = line["messages"]
        if "text" not in columns and turns and turns[-1].get("role") == "assistant":
            line["text"] = turns.pop()["content"]
    if line.get("outcome") != "error" and "text" not in line:
        raise RecordsError(f"{where}: no reply", hint=HINT)
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
