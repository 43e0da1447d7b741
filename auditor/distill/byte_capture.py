"""A subword teacher for a byte-level student: its next-byte distributions, captured.

The text of a sequence is read again with the teacher's tokenizer, run by run between special
tokens, and the teacher's next-token distributions become next-byte distributions
(`auditor.kernels.next_byte.text_byte_targets`, whose docstring says what is approximated). Where
the teacher says nothing (a special token, a character that the sequence cuts in two) the target is
the token that stands there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from auditor.distill.cache import Identity, key_of
from auditor.distill.cache_rows import Arrays, encode
from auditor.distill.capture import sparse_targets, stream_of
from auditor.distill.objective import Teacher
from auditor.distill.sequences import Sequences
from auditor.errors import VocabularyError
from auditor.kernels.next_byte import BYTES, TokenTable, text_byte_targets
from auditor.models.unembedding import logits_of
from auditor.models.vocabulary import Vocabulary, vocabulary_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def byte_ids(vocabulary: Vocabulary) -> Tensor | None:
    """Return (256,) ids of the single bytes of a byte-level vocabulary; None for another one."""
    ids = {
        piece[0]: number
        for number, piece in enumerate(vocabulary.pieces)
        if piece is not None and len(piece) == 1 and number not in vocabulary.special
    }
    others = sum(
        1
        for number, piece in enumerate(vocabulary.pieces)
        if piece and number not in vocabulary.special
    )
    if len(ids) < BYTES or others != BYTES:
        return None
    return torch.tensor([ids[byte] for byte in range(BYTES)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ByteTeacher:
    """A teacher that is read byte by byte."""

    teacher: Teacher
    """With a module, and a head cut to its own real token ids."""
    tokenizer: "PreTrainedTokenizerFast"
    table: TokenTable
    pieces: tuple[bytes | None, ...]
    ids: Tensor
    """(256,) the student's id of each byte."""
    vocabulary: int
    """Of the student."""

    def log_targets(self, tokens: Sequence[int], temperature: float) -> Tensor:
        """Return (n, V) log-probabilities of each of the n tokens of a sequence of the student."""
        found = torch.full((len(tokens), self.vocabulary), -torch.inf)
        found[torch.arange(len(tokens)), torch.tensor(tokens)] = 0.0
        back = {int(number): byte for byte, number in enumerate(self.ids)}
        for start, content in _runs([back.get(int(token)) for token in tokens]):
            head, text = _whole_characters(content)
            if text:
                rows = slice(start + head, start + head + len(text.encode()))
                table = torch.full((rows.stop - rows.start, self.vocabulary), -torch.inf)
                table[:, self.ids] = self._next_bytes(text, temperature).log()
                found[rows] = table
        return found

    def _next_bytes(self, text: str, temperature: float) -> Tensor:
        """Return (A, 256) of the A bytes of a text, after the teacher's start token."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        pieces = [self.pieces[number] for number in ids]
        known = [piece for piece in pieces if piece is not None]
        if b"".join(known) != text.encode():
            raise VocabularyError(
                "the teacher's tokenizer changes the text, so that its tokens are not its bytes",
                hint="use method sequence, which trains on the teacher's answers as text",
            )
        module = self.teacher.module
        if module is None:
            raise RuntimeError("a captured teacher cannot be read again")
        start = self.tokenizer.bos_token_id
        first = self.tokenizer.eos_token_id if start is None else start
        given = torch.tensor([[first if first is not None else ids[0], *ids[:-1]]])
        with torch.no_grad():
            states = module.base_model(
                input_ids=given.to(module.device), use_cache=False
            ).last_hidden_state[0]
            logits = logits_of(self.teacher.head, states.to(self.teacher.head.weight.dtype))
        return text_byte_targets(logits.float(), self.table, known, temperature=temperature).cpu()


def byte_teacher(
    teacher: Teacher, tokenizer: "PreTrainedTokenizerFast", student: Vocabulary
) -> ByteTeacher:
    """Return a loaded teacher as a byte-level student sees it.

    Raises:
        VocabularyError: the student's vocabulary is not the 256 bytes.
    """
    ids = byte_ids(student)
    if ids is None:
        raise VocabularyError(
            "next-byte distributions are for a student of 256 byte tokens",
            hint="set student.init.tokenizer: bytes, or use method sequence",
        )
    own = vocabulary_of(tokenizer)
    return ByteTeacher(
        teacher=teacher,
        tokenizer=tokenizer,
        table=TokenTable(own.pieces, own.special),
        pieces=own.pieces,
        ids=ids,
        vocabulary=student.size,
    )


def captured_bytes(
    source: ByteTeacher, identity: Identity, store: Sequences, rows: Sequence[int]
) -> Arrays:
    """Return the arrays of all targets of `rows`, as `capture` asks for them."""
    parts = []
    for row in rows:
        logs = source.log_targets(store.row(row).tolist(), identity.temperature)
        wanted = logs[int(store.first[row]) :]
        # They are tempered already: the next byte of a tempered token is not a tempered byte.
        targets = sparse_targets(identity, wanted, stream_of(identity, key_of(store, row)))
        parts.append(encode(targets, identity.vocabulary))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _runs(content: Sequence[int | None]) -> Iterator[tuple[int, bytes]]:
    """Yield (start, bytes) of the longest runs without a gap."""
    start = 0
    for place in range(len(content) + 1):
        if place == len(content) or content[place] is None:
            if place > start:
                yield start, bytes(byte for byte in content[start:place] if byte is not None)
            start = place + 1


def _whole_characters(content: bytes) -> tuple[int, str]:
    """Return how many bytes at the start belong to a cut character, and the text after them."""
    head = 0
    while head < len(content) and head < 3 and content[head] & 0xC0 == 0x80:
        head += 1
    rest = content[head:]
    return head, rest.decode("utf-8", errors="ignore") if _is_prefix(rest) else ""


def _is_prefix(content: bytes) -> bool:
    """Say whether bytes are UTF-8 up to a character that is cut at their end."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True
