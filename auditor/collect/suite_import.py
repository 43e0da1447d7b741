"""A suite made of what was asked in a file of recorded outputs, to ask other models the same.

Every different prompt becomes one probe, in the order of the file; its id follows from the prompt
alone, so that two files with one prompt share the probe. Replies are not part of it.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from auditor.canon import canonical_json, digest
from auditor.case import atomic_write, storage_errors
from auditor.collect.suite import load_suite
from auditor.collect.suite_format import ITEMS, MANIFEST, SUMS, Manifest
from auditor.errors import RecordsError, SuiteError
from auditor.models.recorded import RecordedModel, open_recorded
from auditor.models.records.reply import RecordedReply
from auditor.models.specifier import parse
from auditor.types import ProbeSuite

Kind = Literal["chat", "text"]
CATEGORY = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What `suite.toml` says beside what the file tells."""

    name: str
    title: str
    licence: str = "LicenseRef-unstated"
    authors: tuple[str, ...] = ("unstated",)
    language: str = "und"
    """BCP 47; ``und``: undetermined."""
    kind: Kind | None = None
    """Which prompts to take of a file with chats and texts; None where it holds one kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The new suite, and what is not in it."""

    suite: ProbeSuite
    left_out: int
    """Prompts of the other kind, or that no probe can be."""


def import_suite(spec: str, folder: Path, about: About) -> Imported:
    """Write a suite folder with the prompts of recorded outputs, and load it.

    Args:
        spec: a ``records:`` specifier, or a bare file.
        folder: new or empty.
        about: name, licence and the like.

    Raises:
        SuiteError: the folder is in use, a key has a wrong form, or the file holds chats and texts.
        RecordsError: the file cannot be read, or holds no prompt.
        StorageError: the disk refused it; what was written has the ending ``.part``.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SuiteError(f"{folder} is not empty", hint="give a new --out; nothing is replaced")
    folder = folder.resolve()  # "." has no folder beside it
    specifier = parse(spec)
    if specifier.scheme != "records":
        raise RecordsError(
            f"{spec} is a model, not a file of recorded outputs", hint="give records:FILE"
        )
    model = open_recorded(specifier)
    try:
        items, left_out = _items(model, spec, about.kind)
    finally:
        model.close()
    _write(folder, items, about)
    return Imported(suite=load_suite(folder), left_out=left_out)


def _items(model: RecordedModel, spec: str, kind: Kind | None) -> tuple[list[bytes], int]:
    """Return the lines of items.jsonl, and how many prompts are left out."""
    found: dict[str, tuple[Kind, bytes] | None] = {}
    for reply in model.replies():
        if reply.asked is not None and reply.asked not in found:
            found[reply.asked] = _item(reply, reply.asked)
    if not found:
        raise RecordsError(
            f"{spec} names its prompts by id only",
            hint="of a batch name the input file too: records:OUTPUT.jsonl?prompts=INPUT.jsonl",
        )
    usable = [item for item in found.values() if item is not None]
    kinds = sorted({item[0] for item in usable})
    if len(kinds) > 1 and kind is None:
        raise SuiteError(
            f"{spec} holds chats and texts, and a suite is of one kind",
            hint="import it twice, with --kind chat and with --kind text",
        )
    chosen = [line for found_kind, line in usable if kind in (None, found_kind)]
    if not chosen:
        raise SuiteError(f"{spec} holds no prompt that a probe can be", hint="see probes/README.md")
    return chosen, len(found) - len(chosen)


def _item(reply: RecordedReply, asked: str) -> tuple[Kind, bytes] | None:
    """Return the kind and the line of a probe, or None where the prompt cannot be one."""
    item: dict[str, Any] = {"id": "p-" + asked.partition(":")[2][:16], "category": CATEGORY}
    if not reply.messages:
        return "text", canonical_json({**item, "text": reply.prompt})
    last = reply.messages[-1]
    if last.role != "user" or not all(message.content for message in reply.messages):
        return None
    turns = [{"role": turn.role, "content": turn.content} for turn in reply.messages]
    return "chat", canonical_json({**item, "messages": turns})


def _write(folder: Path, items: list[bytes], about: About) -> None:
    kind = "chat" if b'"messages":' in items[0] else "text"
    content = b"".join(line + b"\n" for line in items)
    manifest = "".join(f"{line}\n" for line in _manifest(about, kind)).encode()
    sums = "".join(
        f"{digest(piece).partition(':')[2]}  {name}\n"
        for name, piece in ((MANIFEST, manifest), (ITEMS, content))
    )
    # The suite is there whole or not at all: a kill leaves what lies beside it, to be begun again.
    part = folder.with_name(folder.name + ".part")
    with storage_errors(folder):
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(parents=True)
        for name, piece in ((ITEMS, content), (MANIFEST, manifest), (SUMS, sums.encode())):
            atomic_write(part / name, piece)
        part.rename(folder)


def _manifest(about: About, kind: str) -> Iterator[str]:
    """Yield the lines of suite.toml.

    Raises:
        SuiteError: a value has a form that a suite refuses.
    """
    fields: dict[str, Any] = {
        "name": about.name,
        "version": 1,
        "title": about.title,
        "licence": about.licence,
        "authors": list(about.authors),
        "languages": [about.language],
        "kind": kind,
        "weight": 1.0,
        "description": "What was asked in a file of recorded outputs.",
    }
    try:
        Manifest.model_validate(fields)
    except ValueError as error:
        raise SuiteError(
            f"the suite cannot be called so: {' '.join(str(error).split())[:200]}",
            hint="a name is like own-prompts, a licence an SPDX identifier or LicenseRef-NAME",
        ) from error
    for key, value in fields.items():
        yield f"{key} = {_toml(value)}"


def _toml(value: Any) -> str:
    """Return a text, number or list of texts in TOML; JSON's strings are TOML's basic strings."""
    text = canonical_json(value).decode()
    # RFC 8785 leaves U+007F as it is, which TOML does not allow.
    return "1.0" if value == 1.0 and isinstance(value, float) else text.replace("\x7f", "\\u007f")
