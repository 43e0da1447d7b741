"""A teacher of other tokens: what it reads beside the student, as parts of training batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auditor.distill.sequences import Sequences
from auditor.distill.spans import SpanReader, Spans
from auditor.types import Array

READ = "teacher_input_ids"
"""Key of the teacher's inputs in a batch."""


class AlignedRows:
    """The spans of sequences, and the teacher's side of the batches that hold them."""

    def __init__(self, reader: SpanReader, store: Sequences, rows: Sequence[int]) -> None:
        """Read the sequences `rows` of `store` with the teacher's tokenizer.

        Raises:
            VocabularyError: the teacher's tokenizer changes a text.
        """
        self._store = store
        self._spans = {
            row: reader.read(store.row(row).tolist(), int(store.first[row])) for row in rows
        }

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that the teacher reads."""
        return max(len(spans.tokens) - 1 for spans in self._spans.values())

    def covered(self, row: int) -> int:
        """Return how many targets of a sequence are in a span."""
        return self._spans[row].covered

    def starts(self, row: int) -> int:
        """Return at how many targets of a sequence a span starts."""
        return len(self._spans[row].student)

    def coverage(self) -> dict[str, Any]:
        """Return how much of the sequences lines up, each counted once.

        ``targets`` of the student, those of them in a span (``in_spans``), and those at which the
        teacher's next token follows the same text (``spans``, one each).
        """
        found = self._spans.values()
        targets = int(sum(self._store.targets[row] for row in self._spans))
        spans = sum(len(spans.student) for spans in found)
        inside = sum(spans.covered for spans in found)
        return {
            "sequences": len(self._spans),
            "targets": targets,
            "in_spans": inside,
            "spans": spans,
            "text_bytes": sum(spans.text_bytes for spans in found),
            "teacher_tokens": sum(len(spans.tokens) for spans in found),
            "share_in_spans": inside / targets,
            "share_at_starts": spans / targets,
        }

    def batch(self, members: Sequence[int] | Array) -> dict[str, Tensor]:
        """Return the teacher's side of a batch with N targets of the student and G spans.

        ``teacher_input_ids`` (B, L), ``teacher_scored`` (B, L) bool: the next token is in a span,
        M in all; ``teacher_attention_mask`` (B, L) where something is padded;
        ``teacher_targets`` (M,); ``teacher_spans`` (M,) the span of each and ``student_spans``
        (N,), -1 for a target in none; ``span_starts`` (G, 2): places among N and M of the tokens
        that start a span; ``span_bytes`` (B,): text in spans.
        """
        found = [self._spans[int(member)] for member in members]
        lengths = [max(1, len(spans.tokens) - 1) for spans in found]
        shape = (len(found), max(lengths))
        inputs, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        scored = np.zeros(shape, bool)
        for line, (spans, length) in enumerate(zip(found, lengths, strict=True)):
            inputs[line, :length] = spans.tokens[:length] if len(spans.tokens) else 0
            mask[line, :length] = 1
            scored[line, np.flatnonzero(_members(spans.teacher, len(spans.tokens)) >= 0) - 1] = True
        arrays = {READ: inputs, "teacher_scored": scored, **self._places(members, found)}
        if not mask.all():
            arrays["teacher_attention_mask"] = mask
        arrays["span_bytes"] = np.array([spans.text_bytes for spans in found])
        return {name: torch.from_numpy(values) for name, values in arrays.items()}

    def _places(self, members: Sequence[int] | Array, found: Sequence[Spans]) -> dict[str, Array]:
        """Return where the spans of a batch are among its scored positions, in their order."""
        own, other, starts = [], [], []
        groups, of_student, of_teacher = 0, 0, 0
        targets: list[Array] = []
        for member, spans in zip(members, found, strict=True):
            first = int(self._store.first[member])
            mine = _members(spans.student, len(self._store.row(int(member))))[first:]
            yours = _members(spans.teacher, len(spans.tokens))
            inside = np.flatnonzero(yours >= 0)
            starts.append(
                np.stack(
                    [
                        spans.student[:, 0] - first + of_student,
                        np.searchsorted(inside, spans.teacher[:, 0]) + of_teacher,
                    ],
                    axis=1,
                )
            )
            own.append(np.where(mine >= 0, mine + groups, -1))
            other.append(yours[inside] + groups)
            targets.append(spans.tokens[inside])
            groups += len(spans.student)
            of_student += len(mine)
            of_teacher += len(inside)
        return {
            "teacher_targets": np.concatenate(targets),
            "teacher_spans": np.concatenate(other),
            "student_spans": np.concatenate(own),
            "span_starts": np.concatenate(starts),
        }


def _members(bounds: Array, count: int) -> Array:
    """Return (count,) int64: the span of each token, -1 for one in none."""
    found = np.full(count, -1, dtype=np.int64)
    for number, (first, last) in enumerate(bounds.tolist()):
        found[first : last + 1] = number
    return found
