"""How far two models' logits lie in the same space: ``arrays/span/<suspect>.npy``.

All logits of a model are W h (+ b): up to a constant they lie in the column space of the
unembedding W minus its column mean over the vocabulary, of D out of V - 1 dimensions. From the
weights it is read off W; from logits alone it is the row space of more than D of them.

No orthonormal basis Q (V, r) is held: it is A X, where A (V, m) comes in blocks of tokens and the
factor X (m, r) is small. Two passes orthonormalise (as CholeskyQR2: Yamamoto et al. 2015).
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from auditor.errors import UndefinedError
from auditor.models.base import Head
from auditor.types import Array

if TYPE_CHECKING:
    import torch

_TOKENS = 4096  # rows of A in memory
_RANK = 1e-6  # smaller singular values, relative to the largest, are rounding
_NOISE = 1e-5  # of logits: what lies behind the gap must be below this
_GAP = 10.0  # ... and the last kept value above it by this factor
_ROOM = 1.25  # values that there must be for each kept one


class Source(Protocol):
    """A matrix A (V, m) whose column space is a model's space of logits."""

    vocabulary: int

    def blocks(self) -> Iterator[Array]:
        """Yield (v, m) float64 blocks of rows, centred over the vocabulary."""
        ...

    def rank(self, singular: Array) -> int:
        """Return how many of the (m,) falling singular values, the largest 1, are no rounding."""
        ...


class WeightSource:
    """The unembedding itself, m = D."""

    def __init__(self, head: Head) -> None:
        self._weight = head.weight
        self.vocabulary = head.vocabulary
        total = sum(part.double().sum(dim=0) for part in self._parts())
        self._mean = total / self.vocabulary

    def blocks(self) -> Iterator[Array]:
        """Yield the rows of W minus their mean."""
        for part in self._parts():
            yield (part.double() - self._mean).cpu().numpy()

    def rank(self, singular: Array) -> int:
        """Return the number of values above rounding."""
        return int((singular > _RANK).sum())

    def _parts(self) -> "Iterator[torch.Tensor]":
        for first in range(0, self.vocabulary, _TOKENS):
            yield self._weight[first : first + _TOKENS]


class LogitSource:
    """N different rows of logits, m = N: a quarter more than the hidden width, which is not used.

    The mean over the rows is subtracted: it holds the bias of the head, which is the same in every
    row and in no unembedding. The mean over the vocabulary is subtracted from each row: providers
    give log-probabilities, which differ from logits by a constant.
    """

    def __init__(
        self,
        read: Callable[[int, int], Array],
        shape: tuple[int, int],
        *,
        softcap: float | None = None,
    ) -> None:
        """Read logits through `read`.

        Args:
            read: (first token, last token + 1) -> (N, tokens) logits or log-probabilities.
            shape: (N, V).
            softcap: cap that the model applies to its logits (log-probabilities hide it, and
                cannot be uncapped); None for none.

        Raises:
            UndefinedError: fewer than two rows, or a logit reached the cap.
        """
        self._read, self._softcap = read, softcap
        self._rows, self.vocabulary = shape
        if self._rows < 2:
            raise self._too_few()
        self._mean = sum(part.sum(axis=1) for part in self._parts()) / self.vocabulary  # (N,)

    def blocks(self) -> Iterator[Array]:
        """Yield the logits as (v, N) columns, centred both ways."""
        for part in self._parts():
            yield (part - self._mean[:, None]).T

    def rank(self, singular: Array) -> int:
        """Return where the values drop to rounding.

        Raises:
            UndefinedError: they do not, within the rows that there are.
        """
        # Centring both ways leaves one dimension less than there are rows, or tokens.
        values = np.maximum(singular[: min(self._rows, self.vocabulary) - 1], 1e-9)
        drops = values[:-1] / values[1:]
        drops[values[1:] > _NOISE] = 0.0
        place = int(np.argmax(drops)) if len(drops) else 0
        # Two equal rows look like a drop, too: behind the real one there are many values.
        if not len(drops) or drops[place] < _GAP or len(values) < (place + 1) * _ROOM:
            raise self._too_few()
        return place + 1

    def _too_few(self) -> UndefinedError:
        return UndefinedError(
            f"{self._rows} rows of logits do not show the dimension of their space: "
            "too few, or too coarse"
        )

    def _parts(self) -> Iterator[Array]:
        for first in range(0, self.vocabulary, _TOKENS):
            last = min(first + _TOKENS, self.vocabulary)
            part = np.array(self._read(first, last), dtype=np.float64)
            if self._softcap is not None:
                part = uncapped(part, self._softcap)
            yield part - part.mean(axis=0)


def uncapped(logits: Array, softcap: float) -> Array:
    """Return x with logits = softcap * tanh(x / softcap).

    Raises:
        UndefinedError: a logit reached the cap, where x is lost.
    """
    if not (np.abs(logits) < softcap).all():
        raise UndefinedError(f"a logit reached the cap of {softcap}: it cannot be uncapped")
    return softcap * np.arctanh(logits / softcap)


def factor_of(source: Source) -> Array:
    """Return X (m, r) such that A X is an orthonormal basis (V, r) of the column space of A.

    Raises:
        UndefinedError: A is not finite or constant, or its space holds all V - 1 dimensions.
    """
    gram = sum(_gram(block) for block in source.blocks())
    if not np.isfinite(gram).all():
        raise UndefinedError("the unembedding holds NaN or infinity")
    # Columns of one length: a few large dimensions would hide the others.
    length = np.sqrt(np.diagonal(gram))
    scale = np.where(length > 0.0, 1.0 / np.where(length > 0.0, length, 1.0), 0.0)
    values, vectors = np.linalg.eigh(gram * np.outer(scale, scale))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    if values[0] <= 0.0:
        raise UndefinedError("an unembedding has no directions: all tokens are alike")
    rank = source.rank(np.sqrt(values / values[0]))
    if rank >= source.vocabulary - 1:
        raise UndefinedError(
            f"the space of logits holds all {source.vocabulary - 1} dimensions that there are"
        )
    first = scale[:, None] * vectors[:, :rank] / np.sqrt(values[:rank])
    again = sum(_gram(block @ first) for block in source.blocks())
    values, vectors = np.linalg.eigh(again)
    return first @ (vectors / np.sqrt(values))


def span_cosines(ours: tuple[Source, Array], theirs: tuple[Source, Array]) -> Array:
    """Return (min(r, r'),) cosines of the principal angles, largest first, in [0, 1].

    Björck & Golub 1973: the singular values of Q_T' Q_S, in float64.

    Args:
        ours: the source of one model and its factor.
        theirs: the other's; the same vocabulary.
    """
    (a, x), (b, y) = ours, theirs
    pairs = zip(a.blocks(), b.blocks(), strict=True)
    cross = sum((one @ x).T @ (other @ y) for one, other in pairs)
    return np.clip(np.linalg.svd(cross, compute_uv=False), 0.0, 1.0)


def _gram(rows: Array) -> Array:
    return rows.T @ rows
