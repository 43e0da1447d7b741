"""What a recipe's data keys name: documents and prompts, their digests, and the held-out part."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from auditor.canon import digest, json_digest
from auditor.distill.digests import Digests, digests_of
from auditor.distill.filter_items import Item
from auditor.distill.filters import run_filters
from auditor.distill.recipe import Recipe
from auditor.distill.recipe_data import CorpusChoice, Data
from auditor.distill.row_file import RowFile
from auditor.distill.row_policy import RowFlags, apply_policy, flag_counts, row_flags
from auditor.distill.rows import ListedRows, Row, Rows, RowSource, scanned
from auditor.errors import RecipeError
from auditor.types import Array, Message, Probe

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything a recipe trains on, before the split and before any tokenizer.

    Files are read again whenever a row is asked for, so they may be larger than memory.
    """

    documents: Rows[str]
    prompts: Rows[Probe]
    digests: dict[str, str]
    """``{"text:FILE" | "prompts:FILE" | "suite:NAME@V" | "corpus:NAME": digest}``."""
    repeated: int
    """Prompts left out because an equal one came before."""
    filters: tuple[dict[str, Any], ...] = ()
    """What the policy and the filters did to documents and prompts: `filters.drop_record`."""
    flags: dict[str, Any] = field(default_factory=dict)
    """`row_policy.flag_counts` of the documents and of the prompts that are left."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Positions of the documents or prompts to train on and of those held out, ascending."""

    train: Array
    """int64."""
    holdout: Array


def read_sources(recipe: Recipe) -> Sources:
    """Return the documents and prompts that a recipe names, and that its filters leave.

    Raises:
        RecipeError: a file is missing, not UTF-8, malformed, holds nothing or changes meanwhile; a
            row breaks the policy; a filter drops everything.
        MissingExtraError: a filter needs a package that is not installed.
        SuiteError: a suite does not exist.
    """
    digests: dict[str, str] = {}
    files = [(f"text:{name}", _text_file(recipe, name)) for name in recipe.data.text or ()]
    of_texts: list[RowSource[str]] = [file for _, file in files]
    if recipe.data.corpus is not None:
        name, written = _corpus(recipe.data.corpus)
        digests[f"corpus:{name}"] = json_digest(written)
        of_texts.append(ListedRows(name, [Row(value=text) for text in written]))
    documents = scanned(of_texts, document_digest)
    digests.update((name, file.digest) for name, file in files)
    prompts = _scanned_prompts(recipe, digests)
    documents_done, documents = _documents_left(recipe.data, documents)
    prompts_done, prompts, repeated = _prompts_left(recipe.data, prompts)
    return Sources(
        documents=documents,
        prompts=prompts,
        digests=digests,
        repeated=repeated,
        filters=(*documents_done, *prompts_done),
        flags={
            "documents": flag_counts(documents.view(_flags)),
            "prompts": flag_counts(prompts.view(_flags)),
        },
    )


def _scanned_prompts(recipe: Recipe, digests: dict[str, str]) -> Rows[Probe]:
    """Return all prompts of a recipe, and enter the digests of their sources."""
    files: list[tuple[str, RowFile[Probe]]] = []
    sources: list[RowSource[Probe]] = []
    for name in recipe.data.prompts or ():
        if name.startswith("suite:"):
            sources.append(_suite(name.removeprefix("suite:"), digests))
        else:
            files.append((f"prompts:{name}", _prompt_file(recipe, name)))
            sources.append(files[-1][1])
    rows = scanned(sources, prompt_digest)
    digests.update((name, file.digest) for name, file in files)
    return rows


def document_digest(text: str) -> str:
    """Return the digest of a text's UTF-8 bytes."""
    return digest(text.encode())


def prompt_digest(probe: Probe) -> str:
    """Return the digest of what a prompt says, whatever its id."""
    turns = [[message.role, message.content] for message in probe.messages]
    return json_digest({"messages": turns, "text": probe.text})


def prompt_text(probe: Probe) -> str:
    """Return the words of a prompt, its turns one after the other, as filters read them."""
    return "\n".join(message.content for message in probe.messages) or probe.text or ""


def _documents_left(data: Data, rows: Rows[str]) -> tuple[tuple[dict[str, Any], ...], Rows[str]]:
    """Return what policy and filters did to the documents, and the rows that they leave."""
    if data.policy is None and data.filters is None:
        return (), rows
    lawful = apply_policy(data.policy, "documents", rows.view(_flags), rows.digests)
    rows = rows if len(lawful.kept) == len(rows) else rows.pick(lawful.kept)
    left = run_filters(data.filters or (), "documents", rows.view(_document_item), rows.digests)
    return lawful.records + left.records, rows.pick(left.kept)


def _prompts_left(
    data: Data, rows: Rows[Probe]
) -> tuple[tuple[dict[str, Any], ...], Rows[Probe], int]:
    """Return the same for prompts, each once, with how many were left out as repeated."""
    lawful = apply_policy(data.policy, "prompts", rows.view(_flags), rows.digests)
    rows = rows.pick(lawful.kept)
    first, last = rows.digests.first_and_last()
    # The first of equal prompts stays, in the place of the last: so it was always ordered, and
    # the order decides which prompts share a batch of the teacher.
    once = rows.pick(first[np.argsort(last)])
    left = run_filters(data.filters or (), "prompts", once.view(_prompt_item), once.digests)
    return lawful.records + left.records, once.pick(left.kept), len(rows) - len(once)


def _flags(row: Row[Any]) -> RowFlags | None:
    return row.flags


def _document_item(row: Row[str]) -> Item:
    return Item(text=row.value)


def _prompt_item(row: Row[Probe]) -> Item:
    return Item(text=prompt_text(row.value))


def split_holdout(digests: Sequence[str], share: float) -> Split:
    """Return which items are held out: those whose digest, read as a fraction, is below `share`.

    Equal items fall on the same side, and adding items moves none of the others. Where the rule
    takes none or all of several different items, the one with the smallest digest is the only one
    held out. No item is held out when `share` is 0 or all are equal.
    """
    items = digests if isinstance(digests, Digests) else digests_of(digests)
    held = items.fractions < share
    if len(items) and share > 0 and (held.all() or not held.any()):
        held = items.equals(items.smallest())
    if held.all():
        held = np.zeros(len(items), dtype=bool)
    return Split(train=np.flatnonzero(~held), holdout=np.flatnonzero(held))


def _text_file(recipe: Recipe, name: str) -> RowFile[str]:
    """Return the documents of a text file: JSON lines with `text`, or parts between blank lines."""

    def document(text: str, number: int) -> Row[str]:
        where = f"{name}, line {number}"
        row = _json_row(text, where)
        value = row.get("text")
        if not isinstance(value, str) or not value.strip():
            raise RecipeError(f"{where}: no text under the key 'text'")
        return Row(value=value, flags=row_flags(row, where), category=_category(row, where))

    lines = name.endswith(".jsonl")
    return RowFile(
        recipe.path(name),
        f"data.text {name}",
        document if lines else _plain_document,
        paragraphs=not lines,
    )


def _plain_document(text: str, number: int) -> Row[str]:
    return Row(value=text, flags=RowFlags())


def _json_row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RecipeError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise RecipeError(f"{where}: not a JSON object")
    return row


def _suite(name: str, digests: dict[str, str]) -> ListedRows[Probe]:
    from auditor.collect.suite import load_suite

    suite = load_suite(name)
    digests[f"suite:{suite.id}"] = suite.digest
    flags = RowFlags(licence=suite.licence, source=suite.id)
    return ListedRows(suite.id, [Row(value=probe, flags=flags) for probe in suite.probes])


def _prompt_file(recipe: Recipe, name: str) -> RowFile[Probe]:
    def prompt(text: str, number: int) -> Row[Probe]:
        where = f"{name}, line {number}"
        row = _json_row(text, where)
        return Row(value=_prompt(row, where), flags=row_flags(row, where))

    return RowFile(recipe.path(name), f"data.prompts {name}", prompt)


def _prompt(row: dict[str, Any], where: str) -> Probe:
    """Return the prompt of a line: ``{"prompt"}``, ``{"messages"}`` or ``{"text"}`` to continue."""
    given = [key for key in ("prompt", "messages", "text") if key in row]
    if len(given) != 1:
        raise RecipeError(f"{where}: give exactly one of the keys prompt, messages, text")
    value = row[given[0]]
    messages: tuple[Message, ...] = ()
    text: str | None = None
    if given[0] == "messages":
        messages = _messages(value, where)
    elif not isinstance(value, str) or not value.strip():
        raise RecipeError(f"{where}: {given[0]} is empty or not text")
    elif given[0] == "prompt":
        messages = (Message(role="user", content=value),)
    else:
        text = value
    category = _category(row, where) or "prompt"
    probe = Probe(id="", category=category, messages=messages, text=text)
    # The draw of an answer depends on this id: made of the content, it moves with no line number.
    name = "prompt-" + prompt_digest(probe).removeprefix("sha256:")[:24]
    return Probe(id=name, category=category, messages=messages, text=text)


def _category(row: dict[str, Any], where: str) -> str | None:
    """Return what kind of text a row says that it is: scores are reported by it."""
    value = row.get("category")
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise RecipeError(f"{where}: category is not text: {value!r}")
    return value


def _messages(value: Any, where: str) -> tuple[Message, ...]:
    def turn(item: Any) -> Message:
        role: Literal["system", "user", "assistant"] = item["role"]
        if role not in _ROLES or not isinstance(item["content"], str):
            raise ValueError(role)
        return Message(role=role, content=item["content"])

    try:
        messages = tuple(turn(item) for item in value)
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(
            f"{where}: messages is not a list of {{role, content}} with roles {', '.join(_ROLES)}"
        ) from error
    if not messages or messages[-1].role != "user":
        raise RecipeError(f"{where}: messages must end with a turn of the user")
    return messages


def _corpus(choice: CorpusChoice) -> tuple[str, list[str]]:
    """Return ``name@version`` of a corpus and its documents."""
    from auditor.distill.corpus import CORPORA, generate_corpus

    if choice.name not in CORPORA:
        raise RecipeError(
            f"data.corpus.name: there is no corpus {choice.name!r}",
            hint=f"choose one of: {', '.join(sorted(CORPORA))}",
        )
    documents = generate_corpus(choice.name, seed=choice.seed, documents=choice.documents)
    return f"{choice.name}@{CORPORA[choice.name].version}", list(documents)
