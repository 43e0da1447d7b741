"""Byte-span alignment: which tokens of two tokenizers spell the same bytes of one text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.errors import InputError
from auditor.models.vocabulary import Vocabulary
from auditor.types import Array

_NO_GROUP = -1


class RoundTripError(InputError):
    """Token ids do not spell the text that they were made from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment:
    """G groups in the order of the text: the shortest runs of tokens of equal bytes on both sides.

    Both tokens of a row of first indices start at the same byte, and no others do: there the two
    models' next-token distributions follow the same text.
    """

    student: Array
    """(G, 2) int64: first and last token of each group, both inclusive."""
    teacher: Array
    """(G, 2) int64."""
    student_groups: Array
    """(Ts,) int64: the group of each token, -1 for a special one."""
    teacher_groups: Array
    """(Tt,) int64."""

    @property
    def groups(self) -> int:
        """G."""
        return len(self.student)

    @property
    def starts(self) -> Array:
        """(G, 2) int64: student's and teacher's tokens that start at the same byte."""
        return np.stack([self.student[:, 0], self.teacher[:, 0]], axis=1)


def align(
    text: str | bytes,
    student_ids: Sequence[int],
    teacher_ids: Sequence[int],
    *,
    student: Vocabulary,
    teacher: Vocabulary,
) -> Alignment:
    """Return the groups of two tokenisations of `text`; a group closes where both ends meet.

    Special tokens are in no group. A token may end inside a character. A tokenizer that changes
    the text (lower case, another Unicode form) spells another one, whose probability is not the
    text's, and is refused.

    Args:
        text: what both spell; bytes where it was cut inside a character.
        student_ids: (Ts,) token ids, with or without special ones.
        teacher_ids: (Tt,).
        student: id -> bytes map of the student's tokenizer.
        teacher: of the teacher's.

    Raises:
        RoundTripError: one side does not spell the text.
        InputError: an id is not in the map, or a special token stands inside a group.
    """
    content = text.encode() if isinstance(text, str) else text
    sides = [("student", student_ids, student), ("teacher", teacher_ids, teacher)]
    ends = [byte_ends(content, ids, vocabulary, name) for name, ids, vocabulary in sides]
    kept = [_text_tokens(ids, vocabulary) for _, ids, vocabulary in sides]
    own, other = (end[keep] for end, keep in zip(ends, kept, strict=True))
    meets = np.intersect1d(own, other)
    meets = meets[meets > 0]
    tables = [_bounds(end[keep], keep, meets) for end, keep in zip(ends, kept, strict=True)]
    members = [
        _members(name, ids, vocabulary, table)
        for (name, ids, vocabulary), table in zip(sides, tables, strict=True)
    ]
    return Alignment(
        student=tables[0],
        teacher=tables[1],
        student_groups=members[0],
        teacher_groups=members[1],
    )


def byte_ends(
    text: bytes, ids: Sequence[int], vocabulary: Vocabulary, name: str = "tokenizer"
) -> Array:
    """Return (T,) int64: the byte of `text` where each token ends; a special one adds nothing.

    The space that SentencePiece puts in front of a text is no byte of it: the token that holds it
    is one byte shorter, or empty.

    Args:
        text: UTF-8 bytes.
        ids: (T,) token ids.
        vocabulary: id -> bytes map.
        name: what messages call this side.

    Raises:
        RoundTripError: the tokens do not spell the text.
        InputError: an id is not in the map.
    """
    pieces = [b"" if i in vocabulary.special else _piece(i, vocabulary, name) for i in ids]
    joined = b"".join(pieces)
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    if joined == text:
        return ends
    if joined == b" " + text:
        return np.maximum(ends - 1, 0)
    raise RoundTripError(
        f"the {name}'s tokens spell {len(joined)} bytes that are not the text's {len(text)}; they "
        f"part at byte {_parting(joined, text)}",
        hint="align texts that the tokenizer leaves unchanged, without special tokens in them",
    )


def _piece(index: int, vocabulary: Vocabulary, name: str) -> bytes:
    piece = vocabulary.pieces[index] if 0 <= index < vocabulary.size else None
    if piece is None:
        raise InputError(
            f"token id {index} has no bytes in the {name}'s vocabulary",
            hint="encode the text with the tokenizer that the vocabulary was read from",
        )
    return piece


def _parting(a: bytes, b: bytes) -> int:
    """Return the first byte at which two texts differ."""
    different = (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    return next(different, min(len(a), len(b)))


def _text_tokens(ids: Sequence[int], vocabulary: Vocabulary) -> Array:
    """Return the indices of the tokens that are not special."""
    return np.array([k for k, i in enumerate(ids) if i not in vocabulary.special], dtype=np.int64)


def _bounds(ends: Array, kept: Array, meets: Array) -> Array:
    """Return (G, 2) first and last tokens of the groups that end at `meets`."""
    # A token without bytes ends where the one before it does, and goes with those after it.
    last = np.searchsorted(ends, meets, side="left")
    first = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    return np.stack([kept[first], kept[last]], axis=1).reshape(-1, 2)


def _members(name: str, ids: Sequence[int], vocabulary: Vocabulary, bounds: Array) -> Array:
    """Return (T,) the group of each token."""
    groups = np.full(len(ids), _NO_GROUP, dtype=np.int64)
    for number, (first, last) in enumerate(bounds):
        inside = [k for k in range(first, last + 1) if ids[k] in vocabulary.special]
        if inside:
            raise InputError(
                f"the {name}'s special token {ids[inside[0]]} at {inside[0]} stands between tokens "
                "whose bytes the other side has in one token",
                hint="align the texts between special tokens one by one",
            )
        groups[first : last + 1] = number
    return groups
