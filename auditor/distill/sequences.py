"""Token sequences in one flat store: packed documents and teacher's answers.

A sequence of n + 1 tokens gives a model n inputs and n targets: token i + 1 is the target at
position i. Lengths are counted in inputs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from auditor.errors import RecipeError
from auditor.models.quiet import quiet
from auditor.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = tuple[Sequence[int] | Array, int, bool]
"""Tokens, the first of them that is a target, whether the teacher wrote them."""

# A tokenizer needs a few hundred bytes a token while it works.
_GROUP_CHARACTERS = 1 << 16


class Tokens(Protocol):
    """Tokens that can be sliced: an array, or a file of them."""

    def __getitem__(self, part: slice, /) -> Array:
        """Return the int32 tokens of a slice with both ends."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequences:
    """S sequences: the tokens of sequence s are ``tokens[offsets[s]:offsets[s + 1]]``."""

    tokens: Tokens
    """(total,) int32."""
    offsets: Array
    """(S + 1,) int64."""
    first: Array
    """(S,) int32: index of the first token that is a target, at least 1 (a prompt is not)."""
    generated: Array
    """(S,) bool: the targets were written by the teacher."""

    def __len__(self) -> int:
        return len(self.first)

    @property
    def lengths(self) -> Array:
        """(S,) number of inputs."""
        return np.diff(self.offsets) - 1

    @property
    def targets(self) -> Array:
        """(S,) number of targets that enter the loss."""
        return np.diff(self.offsets) - self.first

    def row(self, index: int) -> Array:
        """Return the tokens of one sequence, (n + 1,)."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def head(self, positions: int) -> "Sequences":
        """Return the first sequences that together have about `positions` inputs, at least one."""
        count = max(1, int(np.searchsorted(np.cumsum(self.lengths), positions, side="right")))
        return Sequences(
            tokens=self.tokens[0 : self.offsets[min(count, len(self))]],
            offsets=self.offsets[: count + 1],
            first=self.first[:count],
            generated=self.generated[:count],
        )


def sequences(rows: Iterable[Row]) -> Sequences:
    """Return the store of (tokens, first target, generated) rows; those without targets go.

    Raises:
        RecipeError: nothing is left.
    """
    kept = list(with_targets(rows))
    if not kept:
        raise nothing_to_train_on()
    sizes = [len(ids) for ids, _, _ in kept]
    return Sequences(
        tokens=np.concatenate([np.asarray(ids, dtype=np.int32) for ids, _, _ in kept]),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        first=np.array([first for _, first, _ in kept], dtype=np.int32),
        generated=np.array([generated for _, _, generated in kept], dtype=bool),
    )


def with_targets(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows in which a token is a target."""
    return (row for row in rows if len(row[0]) > row[1])


def nothing_to_train_on() -> RecipeError:
    """Return the error for data without a target."""
    return RecipeError(
        "the data gives no token to train on",
        hint="name longer texts, or answers that are not empty",
    )


def first_rows(rows: Iterable[Row], positions: int) -> list[Row]:
    """Return the rows that `Sequences.head` would leave, and no row without targets.

    The others are gone through, so that whatever counts them has seen them all.
    """
    kept: list[Row] = []
    total = 0
    for row in with_targets(rows):
        total += len(row[0]) - 1
        if not kept or total <= positions:
            kept.append(row)
    return kept


def document_rows(
    texts: Iterable[str], tokenizer: "PreTrainedTokenizerBase", max_length: int, *, packing: bool
) -> Iterator[Row]:
    """Yield rows of at most `max_length` inputs that cover the documents.

    Each document ends with the tokenizer's end token, where it has one. With `packing` the
    documents form one stream; without, every document starts a row. The last token of a full row
    is the first of the next, so that every token but a row's very first is a target once.

    A few documents are in memory at a time.
    """
    rest = np.empty(0, np.int32)
    for stream in _encoded(texts, tokenizer):
        rest = np.concatenate([rest, stream])
        full = max(0, len(rest) - 1) // max_length * max_length
        for start in range(0, full, max_length):
            yield rest[start : start + max_length + 1].copy(), 1, False
        rest = rest[full:]
        if not packing:
            yield from _last(rest)
            rest = rest[:0]
    yield from _last(rest)


def _last(rest: Array) -> Iterator[Row]:
    if len(rest) > 1:  # a single token is the last one of a full row
        yield rest.copy(), 1, False


def _encoded(texts: Iterable[str], tokenizer: "PreTrainedTokenizerBase") -> Iterator[Array]:
    """Yield the int32 tokens of each text, its end token included."""
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    for group in _groups(texts):
        with quiet():  # a document may be longer than any model reads: it is cut later
            encoded = tokenizer(group, add_special_tokens=True)["input_ids"]
        for ids in encoded:
            yield np.asarray([*ids, *(end if ids[-1:] != end else [])], np.int32)


def _groups(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the texts in groups of about `_GROUP_CHARACTERS`, no text cut."""
    group: list[str] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= _GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group
