"""The held-out sequences by category: each holds text of one, and all are measured alike."""

from array import array
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

import numpy as np

from auditor.distill.documents import Sources
from auditor.distill.recipe_data import Data
from auditor.distill.sequences import Row, Sequences, document_rows, first_rows, sequences
from auditor.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXT = "text"
"""Category of documents whose rows name none."""


class HeldOut:
    """Rows of a held-out part as they are collected, category by category."""

    def __init__(self, tokens: int) -> None:
        """Keep about `tokens` inputs; no category needs more."""
        self._tokens = tokens
        self._rows: dict[str, list[Row]] = {}

    def add(self, category: str, rows: Iterable[Row]) -> None:
        """Add rows; those without targets are left out."""
        kept = first_rows(rows, self._tokens)
        if kept:
            self._rows.setdefault(category, []).extend(kept)

    def sequences(self) -> tuple[Sequences | None, tuple[str, ...]]:
        """Return the first sequences of about `tokens` inputs, and the category of each.

        Categories take turns, so that a small part holds some of every one. None without rows.
        """
        named = [[(row, category) for row in rows] for category, rows in self._rows.items()]
        turns = [item for item in chain(*zip_longest(*named)) if item is not None]
        if not turns:
            return None, ()
        store = sequences(row for row, _ in turns).head(self._tokens)
        return store, tuple(category for _, category in turns[: len(store)])


def by_category(categories: Iterable[str]) -> dict[str, Array]:
    """Return the positions (int64, ascending) at which each category stands."""
    found: dict[str, array[int]] = {}
    for position, category in enumerate(categories):
        found.setdefault(category, array("q")).append(position)
    return {category: np.array(some, np.int64) for category, some in found.items()}


def held_documents(
    data: Data, sources: Sources, positions: Array, tokenizer: "PreTrainedTokenizerBase"
) -> HeldOut:
    """Return the documents at `positions`, packed with others of their category only."""
    documents = sources.documents.pick(positions)
    held = HeldOut(data.holdout_tokens)
    for category, some in by_category(row.category or TEXT for row in documents.rows()).items():
        texts = documents.pick(some)
        held.add(category, document_rows(texts, tokenizer, data.max_length, packing=data.packing))
    return held
