"""What a recipe's data keys name: documents and prompts, their digests, and the held-out part."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from auditor.canon import digest, json_digest
from auditor.distill.filter_items import Item
from auditor.distill.filters import run_filters
from auditor.distill.recipe import Recipe
from auditor.distill.recipe_data import CorpusChoice, Data
from auditor.distill.row_policy import RowFlags, apply_policy, flag_counts, row_flags
from auditor.errors import RecipeError
from auditor.types import Message, Probe

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything a recipe trains on, before the split and before any tokenizer."""

    documents: tuple[str, ...]
    prompts: tuple[Probe, ...]
    digests: dict[str, str]
    """``{"text:FILE" | "prompts:FILE" | "suite:NAME@V" | "corpus:NAME": digest}``."""
    repeated: int
    """Prompts left out because an equal one came before."""
    filters: tuple[dict[str, Any], ...] = ()
    """What the policy and the filters did to documents and prompts: `filters.drop_record`."""
    flags: dict[str, Any] = field(default_factory=dict)
    """`row_policy.flag_counts` of the documents and of the prompts that are left."""
    categories: dict[str, str] = field(default_factory=dict)
    """Digest of a document's text -> the category that its row names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Positions of the documents or prompts to train on and of those held out, ascending."""

    train: tuple[int, ...]
    holdout: tuple[int, ...]


def read_sources(recipe: Recipe) -> Sources:
    """Return the documents and prompts that a recipe names, and that its filters leave.

    Raises:
        RecipeError: a file is missing, not UTF-8, malformed or holds nothing; a row breaks the
            policy; a filter drops everything.
        MissingExtraError: a filter needs a package that is not installed.
        SuiteError: a suite does not exist.
    """
    digests: dict[str, str] = {}
    categories: dict[str, str] = {}
    documents: list[tuple[str, RowFlags | None]] = []
    for name in recipe.data.text or ():
        content = _content(recipe.path(name), f"data.text {name}")
        digests[f"text:{name}"] = digest(content.encode())
        documents += _documents(content, name, categories)
    if recipe.data.corpus is not None:
        name, written = _corpus(recipe.data.corpus)
        digests[f"corpus:{name}"] = json_digest(written)
        documents += [(text, None) for text in written]
    prompts = [row for name in recipe.data.prompts or () for row in _prompts(recipe, name, digests)]
    of_texts, texts = _documents_left(recipe.data, documents)
    of_prompts, unique, repeated = _prompts_left(recipe.data, prompts)
    return Sources(
        documents=tuple(text for text, _ in texts),
        prompts=tuple(probe for probe, _ in unique),
        digests=digests,
        repeated=repeated,
        filters=(*of_texts, *of_prompts),
        flags={
            "documents": flag_counts([flags for _, flags in texts]),
            "prompts": flag_counts([flags for _, flags in unique]),
        },
        categories=categories,
    )


def prompt_digest(probe: Probe) -> str:
    """Return the digest of what a prompt says, whatever its id."""
    turns = [[message.role, message.content] for message in probe.messages]
    return json_digest({"messages": turns, "text": probe.text})


def prompt_text(probe: Probe) -> str:
    """Return the words of a prompt, its turns one after the other, as filters read them."""
    return "\n".join(message.content for message in probe.messages) or probe.text or ""


def _documents_left(
    data: Data, rows: list[tuple[str, RowFlags | None]]
) -> tuple[tuple[dict[str, Any], ...], list[tuple[str, RowFlags | None]]]:
    """Return what policy and filters did to the documents, and the rows that they leave."""
    if data.policy is None and data.filters is None:
        return (), rows
    digests = [digest(text.encode()) for text, _ in rows]
    lawful = apply_policy(data.policy, "documents", [flags for _, flags in rows], digests)
    left = run_filters(
        data.filters or (),
        "documents",
        [Item(text=rows[index][0]) for index in lawful.kept],
        [digests[index] for index in lawful.kept],
    )
    return lawful.records + left.records, [rows[lawful.kept[position]] for position in left.kept]


def _prompts_left(
    data: Data, rows: list[tuple[Probe, RowFlags]]
) -> tuple[tuple[dict[str, Any], ...], list[tuple[Probe, RowFlags]], int]:
    """Return the same for prompts, each once, with how many were left out as repeated."""
    digests = [prompt_digest(probe) for probe, _ in rows]
    lawful = apply_policy(data.policy, "prompts", [flags for _, flags in rows], digests)
    first = list({digests[index]: index for index in reversed(lawful.kept)}.values())[::-1]
    left = run_filters(
        data.filters or (),
        "prompts",
        [Item(text=prompt_text(rows[index][0])) for index in first],
        [digests[index] for index in first],
    )
    kept = [rows[first[position]] for position in left.kept]
    return lawful.records + left.records, kept, len(lawful.kept) - len(first)


def split_holdout(digests: Sequence[str], share: float) -> Split:
    """Return which items are held out: those whose digest, read as a fraction, is below `share`.

    Equal items fall on the same side, and adding items moves none of the others. Where the rule
    takes none or all of several different items, the one with the smallest digest is the only one
    held out. No item is held out when `share` is 0 or all are equal.
    """
    fractions = [int(item.removeprefix("sha256:")[:16], 16) / 2**64 for item in digests]
    held = {item for item, fraction in zip(digests, fractions, strict=True) if fraction < share}
    different = set(digests)
    if share > 0 and len(different) > 1 and (not held or held == different):
        held = {min(different)}
    if held == different:
        held = set()
    return Split(
        train=tuple(i for i, item in enumerate(digests) if item not in held),
        holdout=tuple(i for i, item in enumerate(digests) if item in held),
    )


def _content(path: Path, key: str) -> str:
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{key}: {path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise RecipeError(
            f"{key}: cannot read {path}: {error.strerror}",
            hint="file names in a recipe start at the recipe's own folder",
        ) from error
    if not content.strip():
        raise RecipeError(f"{key}: {path} is empty", hint="name a file with text in it")
    return content


def _documents(content: str, name: str, categories: dict[str, str]) -> list[tuple[str, RowFlags]]:
    """Return the documents of a text file: JSON lines with `text`, or parts between blank lines.

    Categories that rows name are added to `categories`; of equal texts the first one's counts.
    """
    if not name.endswith(".jsonl"):
        parts = content.replace("\r\n", "\n").split("\n\n")
        return [(part.strip("\n"), RowFlags()) for part in parts if part.strip()]
    documents = []
    for number, row in _rows(content, name):
        text = row.get("text")
        if not isinstance(text, str) or not text.strip():
            raise RecipeError(f"{name}, line {number}: no text under the key 'text'")
        documents.append((text, row_flags(row, f"{name}, line {number}")))
        category = _category(row, f"{name}, line {number}")
        if category is not None:
            categories.setdefault(digest(text.encode()), category)
    return documents


def _rows(content: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise RecipeError(f"{name}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise RecipeError(f"{name}, line {number}: not a JSON object")
        yield number, row


def _prompts(recipe: Recipe, name: str, digests: dict[str, str]) -> list[tuple[Probe, RowFlags]]:
    if name.startswith("suite:"):
        from auditor.collect.suite import load_suite

        suite = load_suite(name.removeprefix("suite:"))
        digests[f"suite:{suite.id}"] = suite.digest
        flags = RowFlags(licence=suite.licence, source=suite.id)
        return [(probe, flags) for probe in suite.probes]
    content = _content(recipe.path(name), f"data.prompts {name}")
    digests[f"prompts:{name}"] = digest(content.encode())
    return [
        (_prompt(row, f"{name}, line {number}"), row_flags(row, f"{name}, line {number}"))
        for number, row in _rows(content, name)
    ]


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
