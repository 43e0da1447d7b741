"""Tokens that a server shows, as ids of the student's tokenizer.

The recipe declares that the two are one tokenizer by naming its owner. The server shows bytes, so
each token is looked up by its bytes, and the first one that is not exactly a token of the student
shows that the declaration is wrong.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.errors import AccessError, ServerError, VocabularyError
from auditor.models.openai_replies import REPLACED, Likely, Position, Reply
from auditor.models.vocabulary import Vocabulary
from auditor.types import Array

_EXCESS = 1e-3
"""By so much the sum of rounded probabilities may pass 1."""


class TokenIds:
    """Bytes -> id of a tokenizer."""

    def __init__(self, vocabulary: Vocabulary, *, raw: bool) -> None:
        """Read a vocabulary; `raw`: the server shows the bytes of its own, not those of strings."""
        self._raw = raw
        self._pieces = vocabulary.pieces
        self._ids: dict[bytes, int] = {}
        self._twice: set[bytes] = set()
        for index, piece in enumerate(vocabulary.pieces):
            if piece is not None and self._ids.setdefault(piece, index) != index:
                self._twice.add(piece)

    def of(self, token: Likely) -> int:
        """Return the id of a token.

        Raises:
            VocabularyError: its bytes are not known exactly, or are none or two of the tokens.
        """
        if self.is_doubtful(token):
            raise _inexact(token, "is part of a character and shown without its bytes")
        if token.piece in self._twice:
            raise _inexact(token, "has the bytes of two tokens of the student's tokenizer")
        if token.piece not in self._ids:
            raise _inexact(token, "is no token of the student's tokenizer")
        return self._ids[token.piece]

    def is_doubtful(self, token: Likely) -> bool:
        """Say whether the bytes shown may stand for others."""
        return REPLACED in token.piece and not self._raw

    def places(self, token_ids: Sequence[int]) -> set[tuple[int, int]]:
        """Return (byte offset at its end, id) of each token of a text."""
        ends = itertools.accumulate(len(self._pieces[token] or b"") for token in token_ids)
        return set(zip(ends, token_ids, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taught:
    """What an answer teaches: T positions, K likeliest tokens each."""

    token_ids: tuple[int, ...]
    """(T,) the answer; with the end token where the server weighed it."""
    top_ids: Array
    """(T, K) int64."""
    logprobs: Array
    """(T, K) float64, falling."""
    tail: Array
    """(T,) float64: probability of all other tokens."""
    dropped: int
    """Positions after the first that does not line up with the text."""
    ends: bool
    """The answer ended by itself and its end is among the T positions."""


def taught(reply: Reply, ids: TokenIds, *, end: int | None, k: int) -> Taught:
    """Return what a reply teaches a student with the end token `end`.

    Positions are taken as long as their bytes spell the text; there the tokens before each of
    them are known. From the first one that does not (hidden tokens, half a character at the end)
    all are dropped and counted.

    Raises:
        VocabularyError: a token is not exactly one of the student's.
        AccessError: a position shows fewer than `k` tokens.
        ServerError: the numbers are not those of a distribution.
    """
    positions = reply.positions or ()
    text, at = reply.text.encode(), 0
    chosen: list[int] = []
    for number, position in enumerate(positions):
        piece = b"" if ids.is_doubtful(position.chosen) else position.chosen.piece
        closes = number == len(positions) - 1 and at == len(text) and reply.finish_reason == "stop"
        if piece and text.startswith(piece, at):
            at += len(piece)
        elif not (closes and end is not None and piece and ids.of(position.chosen) == end):
            break
        chosen.append(ids.of(position.chosen))
    rows = [_top(position, ids, k) for position in positions[: len(chosen)]]
    logprobs = np.array([row[1] for row in rows], dtype=np.float64).reshape(-1, k)
    return Taught(
        token_ids=tuple(chosen),
        top_ids=np.array([row[0] for row in rows], dtype=np.int64).reshape(-1, k),
        logprobs=logprobs,
        tail=np.array([_tail(row) for row in logprobs], dtype=np.float64),
        dropped=len(positions) - len(chosen),
        ends=bool(chosen) and chosen[-1] == end,
    )


def _top(position: Position, ids: TokenIds, k: int) -> tuple[list[int], list[float]]:
    """Return the ids and log-probabilities of the k likeliest tokens; servers may show more."""
    top = position.top[:k]
    if len(top) < k:
        raise AccessError(
            f"a position shows {len(top)} log-probabilities, and {k} were asked for",
            hint=f"set method.cache.k: {len(top)}, or use method sequence",
        )
    found = [ids.of(token) for token in top]
    if len(set(found)) < k:
        raise VocabularyError(
            "two tokens of the server are one token of the student's tokenizer",
            hint=_HINT,
        )
    return found, [token.logprob for token in top]


def _tail(logprobs: Sequence[float] | Array) -> float:
    mass = math.fsum(math.exp(value) for value in logprobs)
    if mass > 1.0 + _EXCESS:
        raise ServerError(
            f"the probabilities that the server gives at one position sum to {mass:.4f}",
            hint="they are not of one distribution; use method sequence",
        )
    return max(0.0, 1.0 - mass)


_HINT = "name the owner of the teacher's own tokenizer for the student, or use method sequence"


def _inexact(token: Likely, why: str) -> VocabularyError:
    return VocabularyError(f"the server's token {token.shown!r} {why}", hint=_HINT)
