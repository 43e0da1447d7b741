"""Which columns of a parquet file hold what: named outright, or known by the usual names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.errors import RecordsError

PROMPTS = ("prompt", "instruction", "question", "input", "query")
REPLIES = ("text", "response", "reply", "completion", "output", "answer", "generated_text")
CHATS = ("messages", "conversation")
JSON = ("logprobs", "decoding")
"""Keys whose columns hold JSON."""
_WORDS = ("probe_id", "suite", "finish_reason", "outcome", "error", "model", "time")
_WANTED = {"repeat": "whole numbers", "messages": "lists of {role, content}"}
HINT = "name the columns: records:FILE.parquet?prompt=COLUMN&reply=COLUMN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns that are read."""

    read: dict[str, str]
    """{key of a record line: column}."""
    unread: tuple[str, ...]
    """Columns of a known name that hold something else, and can be done without."""

    @property
    def note(self) -> str:
        """What was chosen, as a sentence for the report."""
        read = ", ".join(f"{key} from {column!r}" for key, column in self.read.items())
        unread = ", ".join(map(repr, self.unread))
        left = f"left out, as they hold something else: {unread}; " if unread else ""
        return (
            f"Columns read: {read}; {left}what other columns say about a prompt is not part of it."
        )


def chosen_columns(path: Path, schema: Any, prompt: str | None, reply: str | None) -> Columns:
    """Return the columns of a schema of Arrow that hold replies, each of a type that can be read.

    A column that is named for prompts or replies holds nothing else.

    Raises:
        RecordsError: a column is missing, there twice, named for both, or of another type.
    """
    _check_named(path, schema.names, prompt, reply)
    found = _found(schema.names, prompt, reply)
    if not {"prompt", "messages", "probe_id"} & set(found):
        raise RecordsError(
            f"{path} has no column of prompts or probe ids: {_shown(schema.names)}", hint=HINT
        )
    if not {"text", "messages"} & set(found):
        raise RecordsError(f"{path} has no column of replies: {_shown(schema.names)}", hint=HINT)
    read, unread = {}, []
    for key, column in found.items():
        _check_once(path, schema.names, column)
        kind = schema.field(column).type
        if _fits(key, kind):
            read[key] = column
        elif not _needed(key, found):
            unread.append(column)
        else:
            raise RecordsError(
                f"{path}: the column {column!r} is nested or of another type ({kind}); "
                f"{_WANTED.get(key, 'texts')} are read",
                hint=f"flatten it, or {HINT}",
            )
    return Columns(read=read, unread=tuple(unread))


def _needed(key: str, found: Mapping[str, str]) -> bool:
    """Whether a file cannot be read without a key: what was asked, by id at the least, and said."""
    if key == "probe_id":
        return not {"prompt", "messages"} & set(found)
    return key in ("prompt", "text", "messages")


def _check_named(path: Path, names: list[str], prompt: str | None, reply: str | None) -> None:
    for wanted in (prompt, reply):
        if wanted is not None and wanted not in names:
            raise RecordsError(
                f"{path} has no column {wanted!r}", hint=f"its columns: {_shown(names)}"
            )
    if prompt is not None and prompt == reply:
        raise RecordsError(
            f"{path}: prompts and replies cannot both be the column {prompt!r}",
            hint=f"name two columns; there are: {_shown(names)}",
        )


def _found(names: list[str], prompt: str | None, reply: str | None) -> dict[str, str]:
    """Return the first column of each key among its usual names, without those named for others."""
    usual = {
        "prompt": PROMPTS,
        "text": REPLIES,
        "messages": CHATS if prompt is None else (),
        **{key: (key,) for key in (*_WORDS, *JSON, "repeat")},
    }
    named = {key: name for key, name in (("prompt", prompt), ("text", reply)) if name is not None}
    free = set(names) - set(named.values())
    present = {key: [one for one in known if one in free] for key, known in usual.items()}
    first = {key: columns[0] for key, columns in present.items() if columns}
    return {key: (named | first | named)[key] for key in usual if key in first or key in named}


def _check_once(path: Path, names: list[str], column: str) -> None:
    if names.count(column) > 1:
        raise RecordsError(
            f"{path} has {names.count(column)} columns {column!r}",
            hint="give each column a name of its own",
        )


def _fits(key: str, kind: Any) -> bool:
    from pyarrow import types

    if key == "repeat":
        return bool(types.is_integer(kind))
    if key != "messages":
        return is_text(kind)
    if not (types.is_list(kind) or types.is_large_list(kind)):
        return False
    turn = kind.value_type
    if not types.is_struct(turn):
        return False
    fields = {turn.field(at).name: turn.field(at).type for at in range(turn.num_fields)}
    return all(name in fields and is_text(fields[name]) for name in ("role", "content"))


def is_text(kind: Any) -> bool:
    """Whether values of a type of Arrow are texts, or always missing."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))


def _shown(names: Iterable[str]) -> str:
    return ", ".join(names)
