"""Token sequences in one flat store: packed documents and teacher's answers.

A sequence of n + 1 tokens gives a model n inputs and n targets: token i + 1 is the target at
position i. Lengths are counted in inputs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.errors import RecipeError
from auditor.models.quiet import quiet
from auditor.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = tuple[Sequence[int] | Array, int, bool]
"""Tokens, index of the first target, whether the teacher wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequences:
    """S sequences: the tokens of sequence s are ``tokens[offsets[s]:offsets[s + 1]]``."""

    tokens: Array
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
            tokens=self.tokens[: self.offsets[min(count, len(self))]],
            offsets=self.offsets[: count + 1],
            first=self.first[:count],
            generated=self.generated[:count],
        )


def sequences(rows: Iterable[Row]) -> Sequences:
    """Return the store of (tokens, first target, generated) rows; those without targets go.

    Raises:
        RecipeError: nothing is left.
    """
    kept = [(ids, first, generated) for ids, first, generated in rows if len(ids) > first]
    if not kept:
        raise RecipeError(
            "the data gives no token to train on",
            hint="name longer texts, or answers that are not empty",
        )
    sizes = [len(ids) for ids, _, _ in kept]
    return Sequences(
        tokens=np.concatenate([np.asarray(ids, dtype=np.int32) for ids, _, _ in kept]),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        first=np.array([first for _, first, _ in kept], dtype=np.int32),
        generated=np.array([generated for _, _, generated in kept], dtype=bool),
    )


def document_rows(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", max_length: int, *, packing: bool
) -> list[tuple[Array, int, bool]]:
    """Return rows of at most `max_length` inputs that cover the documents.

    Each document ends with the tokenizer's end token, where it has one. With `packing` the
    documents form one stream; without, every document starts a row. The last token of a full row
    is the first of the next, so that every token but a row's very first is a target once.
    """
    if not texts:
        return []
    with quiet():  # a document may be longer than any model reads: it is cut below
        encoded = tokenizer(list(texts), add_special_tokens=True)["input_ids"]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    streams = [np.asarray([*ids, *(end if ids[-1:] != end else [])], np.int32) for ids in encoded]
    if packing:
        streams = [np.concatenate(streams)]
    return [
        (stream[start : start + max_length + 1], 1, False)
        for stream in streams
        for start in range(0, len(stream) - 1, max_length)
    ]
