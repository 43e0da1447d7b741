"""Text -> token ids with the byte where each token ends."""

from itertools import accumulate
from typing import TYPE_CHECKING

from auditor.models.base import Encoded

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

    from auditor.models.vocabulary import Vocabulary


class TextEncoder:
    """Encodes texts for one model. Deterministic; a pure function of the tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", vocabulary: "Vocabulary") -> None:
        # A copy, because padding and truncation are state of the shared Rust object.
        self._core = type(tokenizer.backend_tokenizer).from_str(
            tokenizer.backend_tokenizer.to_str()
        )
        self._core.no_padding()
        self._core.no_truncation()
        self._start: int | None = tokenizer.bos_token_id
        self._pieces = vocabulary.pieces

    def encode(self, text: str, *, start: bool = True) -> Encoded:
        """Return the ids of `text`; with `start`, after the start token where the model uses one.

        A start token that `text` already spells is not doubled. An end token that the tokenizer
        would append is left out, since the text is there to be continued.
        """
        encoding = self._core.encode(text, add_special_tokens=start)
        first, last = self._span(encoding)
        ids = encoding.ids[first:last]
        ends = self._ends(text, ids, encoding, first)
        return Encoded(token_ids=tuple(ids), byte_ends=tuple(ends))

    def _span(self, encoding: "Encoding") -> tuple[int, int]:
        """Return the range of tokens to keep."""
        ids, added = encoding.ids, encoding.special_tokens_mask
        first, last = 0, len(ids)
        while last > 0 and added[last - 1] and any(not mask for mask in added[:last]):
            last -= 1
        if last == len(ids) and all(added):  # an empty text
            last = 1 if self._start is not None and ids[:1] == [self._start] else 0
        if last > 1 and added[0] and self._start is not None:
            first = int(ids[0] == ids[1] == self._start)
        return first, last

    def _ends(self, text: str, ids: list[int], encoding: "Encoding", first: int) -> list[int]:
        content = text.encode()
        added = encoding.special_tokens_mask[first : first + len(ids)]
        pieces = [
            b"" if mask else self._pieces[i] or b"" for i, mask in zip(ids, added, strict=True)
        ]
        joined = b"".join(pieces)
        if joined == content:
            return list(accumulate(map(len, pieces)))
        if joined == b" " + content:  # SentencePiece puts a space in front
            return [max(end - 1, 0) for end in accumulate(map(len, pieces))]
        return _ends_from_characters(text, encoding.offsets[first : first + len(ids)])


def _ends_from_characters(text: str, offsets: list[tuple[int, int]]) -> list[int]:
    """Return byte ends from character offsets: a token inside a character ends after it.

    For tokenizers that normalise the text, whose tokens do not spell it.
    """
    bytes_before = [0, *accumulate(len(character.encode()) for character in text)]
    # A token of no width (a special one) repeats the end before it.
    return list(accumulate((bytes_before[end] for _, end in offsets), max))
