"""One forward pass of a model over the teacher-forced sequences, shared by all that is kept of it.

Batches follow from the lengths and the token budget alone, so every model with the reference's
vocabulary runs through the same batches in the same order: a copy of the reference then produces
the same bits, and a cut run repeats the cut batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from auditor.collect.arrays import ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.sequences import ForcedText
from auditor.models.base import Model
from auditor.models.batching import plan_batches
from auditor.on_disk import Batches
from auditor.types import Array

if TYPE_CHECKING:
    import torch

_FLUSHED_WORK = 1 << 36
"""Parameters times tokens between two writes: a flush to the disk costs milliseconds."""
_FLUSHED_BYTES = 1 << 23
"""Rows of this size are written whatever they cost: memory does not follow the probes."""


@dataclass(frozen=True, slots=True, eq=False)
class ForcedBatch:
    """Sequences of one forward pass and their final hidden states."""

    texts: Sequence[ForcedText]
    states: Sequence["torch.Tensor"]
    """One (T, D) a sequence."""

    def scored_states(self) -> "torch.Tensor":
        """Return (n, D): the states at the scored positions of all sequences, one after another."""
        import torch

        pairs = zip(self.texts, self.states, strict=True)
        return torch.cat([states[text.first : text.first + text.scored] for text, states in pairs])

    def targets(self) -> Array:
        """Return (n,) int32: the token that follows each scored position."""
        return np.concatenate([text.targets for text in self.texts])

    def probes(self) -> Array:
        """Return (n,) int32: the probe of each scored position."""
        counts = [text.scored for text in self.texts]
        return np.repeat(np.array([text.probe for text in self.texts], dtype=np.int32), counts)


class Product(Protocol):
    """An array that grows by some rows with every batch."""

    @property
    def writer(self) -> ArrayWriter:
        """The array."""
        ...

    def count(self, text: ForcedText) -> int:
        """Return how many rows a sequence has in the array."""
        ...

    def rows(self, batch: ForcedBatch, start: int) -> Array:
        """Return the rows of a batch, of which the first is row `start` of the array."""
        ...


class Tap(Product, Protocol):
    """A product that reads inside the model, not only its final states."""

    def watching(self, batch: Sequence[ForcedText]) -> AbstractContextManager[None]:
        """Return the context in which the forward pass of a batch runs."""
        ...


def force(
    run: Collection,
    model: Model,
    texts: Sequence[ForcedText],
    products: Sequence[Product],
    tap: "Tap | None" = None,
) -> Iterator[int]:
    """Write what the products still lack; yield the number of sequences done, by batch.

    Args:
        run: the collection.
        model: runs the sequences.
        texts: the sequences.
        products: what grows with each batch, the tap among them.
        tap: sees what happens inside the model during each forward pass.

    Raises:
        InputError: the model cannot take a sequence, or its numbers are not finite.
        StorageError: the disk is full; the batches written before are kept.
    """
    batches = forced_batches(texts, run.plan["batch_tokens"])
    ends = [batch_ends(product, batches) for product in products]
    done = min(_batches_done(product, end) for product, end in zip(products, ends, strict=True))
    for product, end in zip(products, ends, strict=True):
        product.writer.resume([0, *end[:done]])
        run.log_cut(product.writer.path, product.writer.cut)
    unwritten = _Unwritten(products, _FLUSHED_WORK // (model.ref.parameters or _FLUSHED_WORK))
    for index, batch in enumerate(batches):
        if index >= done:
            starts = [end[index - 1] if index else 0 for end in ends]
            with nullcontext() if tap is None else tap.watching(batch):
                forwarded = _forward(model, batch)
            unwritten.add(forwarded, starts)
            del forwarded  # the next forward pass finds the memory of the states free
        yield len(batch)
    unwritten.write()


def _forward(model: Model, batch: Sequence[ForcedText]) -> ForcedBatch:
    return ForcedBatch(batch, list(model.hidden([text.token_ids.tolist() for text in batch])))


class _Unwritten:
    """The rows of the last batches of a small model, which are cheaper done again than flushed."""

    def __init__(self, products: Sequence[Product], tokens: int) -> None:
        """Hold nothing yet; a batch that completes `tokens` tokens is written at once."""
        self._products, self._limit = products, tokens
        self._rows: list[list[Array]] = [[] for _ in products]
        self._tokens = self._bytes = 0

    def add(self, batch: ForcedBatch, starts: Sequence[int]) -> None:
        """Take the rows of a batch, of which the first are rows `starts` of the arrays."""
        for rows, product, start in zip(self._rows, self._products, starts, strict=True):
            rows.append(product.rows(batch, start))
            self._bytes += rows[-1].nbytes
        self._tokens += sum(len(text.token_ids) for text in batch.texts)
        if self._tokens >= self._limit or self._bytes >= _FLUSHED_BYTES:
            self.write()

    def write(self) -> None:
        """Write what is held."""
        for rows, product in zip(self._rows, self._products, strict=True):
            if rows:
                product.writer.append(np.concatenate(rows))
                rows.clear()
        self._tokens = self._bytes = 0


def forced_batches(texts: Sequence[ForcedText], batch_tokens: int) -> Batches[ForcedText]:
    """Return the sequences by forward pass."""
    return Batches(texts, plan_batches([len(text.token_ids) for text in texts], batch_tokens))


def batch_ends(product: Product, batches: Iterable[Sequence[ForcedText]]) -> list[int]:
    """Return the number of rows of a product after each batch."""
    counts = [sum(product.count(text) for text in batch) for batch in batches]
    return np.cumsum(counts, dtype=np.int64).tolist()


def _batches_done(product: Product, ends: Sequence[int]) -> int:
    # A batch without rows counts as done with the one before it; doing it again costs little.
    return int(np.searchsorted(ends, product.writer.rows, side="right"))
