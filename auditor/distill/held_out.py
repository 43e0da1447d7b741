"""The held-out sequences by category: each holds text of one, and all are measured alike."""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from auditor.canon import digest
from auditor.distill.documents import Sources
from auditor.distill.recipe_data import Data
from auditor.distill.sequences import Row, Sequences, document_rows, sequences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXT = "text"
"""Category of documents whose rows name none."""


class HeldOut:
    """Rows of a held-out part as they are collected, category by category."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}

    def add(self, category: str, rows: Iterable[Row]) -> None:
        """Add rows; those without targets are left out."""
        kept = [row for row in rows if len(row[0]) > row[1]]
        if kept:
            self._rows.setdefault(category, []).extend(kept)

    def sequences(self, tokens: int) -> tuple[Sequences | None, tuple[str, ...]]:
        """Return the first sequences of about `tokens` inputs, and the category of each.

        Categories take turns, so that a small part holds some of every one. None without rows.
        """
        named = [[(row, category) for row in rows] for category, rows in self._rows.items()]
        turns = [item for item in chain(*zip_longest(*named)) if item is not None]
        if not turns:
            return None, ()
        store = sequences(row for row, _ in turns).head(tokens)
        return store, tuple(category for _, category in turns[: len(store)])


def held_documents(
    data: Data, sources: Sources, indices: Iterable[int], tokenizer: "PreTrainedTokenizerBase"
) -> HeldOut:
    """Return the documents with these indices, packed with others of their category only."""
    texts: dict[str, list[str]] = {}
    for index in indices:
        text = sources.documents[index]
        category = sources.categories.get(digest(text.encode()), TEXT)
        texts.setdefault(category, []).append(text)
    held = HeldOut()
    for category, some in texts.items():
        held.add(category, document_rows(some, tokenizer, data.max_length, packing=data.packing))
    return held
