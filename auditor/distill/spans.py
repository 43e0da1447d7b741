"""A sequence of the student as a teacher of other tokens reads it, and the spans both spell.

The text between special tokens is written again with the teacher's tokenizer. A special token goes
to its counterpart: the one of the same text, or of the same role (start, end). One without a
counterpart is not shown to the teacher.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.distill.align import RoundTripError, align
from auditor.errors import VocabularyError
from auditor.models.vocabulary import Vocabulary, vocabulary_of
from auditor.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_LONGEST_CHARACTER = 4
"""Bytes in UTF-8: at the end of a run at most 3 tokens belong to a cut character."""
_NONE = np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spans:
    """G spans of a sequence: the shortest runs of tokens of equal bytes on both sides.

    A span's tokens are all targets of the student, and the teacher predicts all of its own.
    """

    tokens: Array
    """(Tt,) int64: what the teacher reads, its start token in front."""
    student: Array
    """(G, 2) int64: first and last token of each span, both inclusive, in the sequence."""
    teacher: Array
    """(G, 2) int64: the same in `tokens`."""
    text_bytes: int
    """Bytes of all spans; a special token has none."""

    @property
    def covered(self) -> int:
        """The student's targets that are in a span."""
        return int((self.student[:, 1] - self.student[:, 0] + 1).sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Tokens that the teacher reads one after another, and their spans."""

    ids: list[int]
    student: Array
    """(G, 2) in the student's sequence."""
    teacher: Array
    """(G, 2) in `ids`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SpanReader:
    """Two tokenizers that read the same sequences."""

    student: "PreTrainedTokenizerFast"
    teacher: "PreTrainedTokenizerFast"

    @cached_property
    def student_vocabulary(self) -> Vocabulary:
        """Id -> bytes map of the student's tokenizer."""
        return vocabulary_of(self.student)

    @cached_property
    def teacher_vocabulary(self) -> Vocabulary:
        """Of the teacher's."""
        return vocabulary_of(self.teacher)

    @cached_property
    def counterparts(self) -> tuple[tuple[int, int], ...]:
        """(student id, teacher id) of special tokens of one role or one text, each id once."""
        own, other = self.student_vocabulary, self.teacher_vocabulary
        texts = {other.pieces[index]: index for index in sorted(other.special)}
        roles = [
            (getattr(self.student, name), getattr(self.teacher, name))
            for name in ("eos_token_id", "bos_token_id")
        ]
        same = [(index, texts.get(own.pieces[index])) for index in sorted(own.special)]
        found: dict[int, int] = {}
        for mine, yours in [*roles, *same]:
            known = mine in own.special and yours in other.special
            if known and mine not in found and yours not in found.values():
                found[mine] = yours
        return tuple(found.items())

    def read(self, tokens: Sequence[int], first: int) -> Spans:
        """Return the spans of a sequence.

        Args:
            tokens: (n + 1,) the student's ids.
            first: index of the first one that is a target, at least 1.

        Raises:
            VocabularyError: the teacher's tokenizer changes the text.
        """
        parts = list(self._parts(tokens))
        start = self._start()
        if start is not None and (not parts or parts[0].ids[0] != start):
            parts.insert(0, _Part(ids=[start], student=_NONE, teacher=_NONE))
        offsets = np.cumsum([0, *(len(part.ids) for part in parts)])
        student = np.concatenate([_NONE, *(part.student for part in parts)])
        teacher = np.concatenate(
            [_NONE, *(part.teacher + at for part, at in zip(parts, offsets, strict=False))]
        )
        # Without a start token nothing predicts the teacher's first one.
        kept = (student[:, 0] >= first) & (teacher[:, 0] >= 1)
        ids = [number for part in parts for number in part.ids]
        return Spans(
            tokens=np.array(ids, dtype=np.int64),
            student=student[kept],
            teacher=teacher[kept],
            text_bytes=self._bytes(tokens, student[kept]),
        )

    def _start(self) -> int | None:
        """Return the token that the teacher reads before a text, where it has one."""
        start = self.teacher.bos_token_id
        found: int | None = self.teacher.eos_token_id if start is None else start
        return found

    def _parts(self, tokens: Sequence[int]) -> Iterator[_Part]:
        """Yield what the teacher reads, run by run and special token by special token."""
        special = self.student_vocabulary.special
        partners = dict(self.counterparts)
        start = 0
        for place in range(len(tokens) + 1):
            if place < len(tokens) and tokens[place] not in special:
                continue
            yield from self._run(tokens, start, place)
            if place < len(tokens) and tokens[place] in partners:
                own, other = np.array([[place, place]]), np.zeros((1, 2), np.int64)
                yield _Part(ids=[partners[tokens[place]]], student=own, teacher=other)
            start = place + 1

    def _run(self, tokens: Sequence[int], start: int, end: int) -> Iterator[_Part]:
        """Yield the part of the text tokens ``start .. end - 1``; none where none is whole."""
        start, end = self._whole_characters(tokens, start, end)
        if start == end:
            return
        own = tokens[start:end]
        text = b"".join(self.student_vocabulary.pieces[token] or b"" for token in own)
        given: Any = self.teacher(
            text.decode(), add_special_tokens=False, split_special_tokens=True
        )
        ids: list[int] = given["input_ids"]
        try:
            found = align(
                text, own, ids, student=self.student_vocabulary, teacher=self.teacher_vocabulary
            )
        except RoundTripError as error:
            raise VocabularyError(
                f"the two tokenizers do not spell the same bytes: {error}",
                hint="use method sequence, which trains on the teacher's answers as text",
            ) from error
        if ids:
            yield _Part(ids=ids, student=found.student + start, teacher=found.teacher)

    def _whole_characters(self, tokens: Sequence[int], start: int, end: int) -> tuple[int, int]:
        """Return the run without the tokens of characters that are cut at its ends."""
        pieces = self.student_vocabulary.pieces
        while start < end and _continues(pieces[tokens[start]] or b""):
            start += 1
        for last in range(end, max(start, end - _LONGEST_CHARACTER), -1):
            if _is_text(b"".join(pieces[token] or b"" for token in tokens[start:last])):
                return start, last
        return start, start

    def _bytes(self, tokens: Sequence[int], bounds: Array) -> int:
        vocabulary = self.student_vocabulary
        inside = [tokens[k] for first, last in bounds.tolist() for k in range(first, last + 1)]
        return sum(len(vocabulary.pieces[t] or b"") for t in inside if t not in vocabulary.special)


def _continues(piece: bytes) -> bool:
    """Say whether a token starts inside a character."""
    return bool(piece) and piece[0] & 0xC0 == 0x80


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
