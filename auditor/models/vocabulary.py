"""A tokenizer as what it can emit: a map from token id to bytes, and how two such maps relate.

Files and `vocab_size` say little: the same tokenizer is saved in many forms, and heads are padded.
The map says whether id 17 means the same bytes in both models, which is what comparing two
distributions position by position needs.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from auditor.canon import json_digest
from auditor.errors import SubjectError
from auditor.models.byte_tokenizer import byte_alphabet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Relation = Literal["identical", "padded", "superset", "different"]
_MOST_IDS = 1 << 24
_WORD_START = "\u2581"  # SentencePiece's mark for a space


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The id -> bytes map of a tokenizer, and which ids are special."""

    pieces: tuple[bytes | None, ...]
    """Bytes of each id; None where an id below the largest is not used."""
    special: frozenset[int]
    """Ids that stand for themselves and are no text: start, end, padding, roles ..."""

    @property
    def size(self) -> int:
        """Largest id plus one: the number of rows of an unpadded head."""
        return len(self.pieces)

    @cached_property
    def digest(self) -> str:
        """Digest over the map. Which special token ends a reply is not part of it."""
        pieces = [None if piece is None else piece.hex() for piece in self.pieces]
        return json_digest({"pieces": pieces, "special": sorted(self.special)})


def vocabulary_of(tokenizer: "PreTrainedTokenizerFast", rows: int | None = None) -> Vocabulary:
    """Return the id -> bytes map of a fast tokenizer.

    Byte-level and byte-fallback vocabularies give raw bytes, which need not be valid UTF-8;
    others give the UTF-8 bytes of the token's text.

    Args:
        tokenizer: A fast tokenizer.
        rows: Number of embeddings of its model. Tokens from there on (a padding token added
            without resizing the model) are not the model's and are left out.

    Raises:
        SubjectError: an id is larger than that of any tokenizer.
    """
    tokens = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True)
    size = _size(tokens.values(), rows)  # first: to_str lists every id that is not used
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {token["id"]: token for token in core["added_tokens"]}
    to_bytes = _piece_bytes(core)
    pieces: list[bytes | None] = [None] * size
    for token, index in tokens.items():
        if index < size:
            pieces[index] = token.encode() if index in added else to_bytes(token)
    special = (index for index, token in added.items() if token["special"])
    return Vocabulary(
        pieces=tuple(pieces), special=frozenset(index for index in special if index < size)
    )


def _size(ids: Iterable[int], rows: int | None) -> int:
    largest = max(ids, default=-1)
    if largest >= _MOST_IDS:  # each takes 8 bytes, whether it is used or not
        raise SubjectError(
            f"the largest token id of the tokenizer is {largest:,}: no vocabulary is so large",
            hint="repair tokenizer.json, or copy it again",
        )
    return largest + 1 if rows is None else min(largest + 1, rows)


def vocabulary_relation(
    a: "PreTrainedTokenizerFast",
    b: "PreTrainedTokenizerFast",
    *,
    rows: tuple[int, int] | None = None,
) -> Relation:
    """Return how the vocabularies of two tokenizers relate; the order of the two does not matter.

    ``identical``: the same map. ``padded``: the same map, but one head has more rows, or ids
    without bytes, at its end. ``superset``: one has all tokens of the other at the same ids, and
    more. ``different``: some id means different bytes.

    Args:
        a: Tokenizer of one model.
        b: Tokenizer of the other.
        rows: Number of rows of the two heads, where they are known.
    """
    return relation_of(vocabulary_of(a), vocabulary_of(b), rows=rows)


def relation_of(a: Vocabulary, b: Vocabulary, *, rows: tuple[int, int] | None = None) -> Relation:
    """Return how two vocabularies relate, as `vocabulary_relation`."""
    short, long = sorted((a, b), key=lambda vocabulary: vocabulary.size)
    shared = long.pieces[: short.size]
    extra = long.pieces[short.size :]
    inside = frozenset(index for index in long.special if index < short.size)
    if shared != short.pieces or inside != short.special:
        return "superset" if _covers(a, b) or _covers(b, a) else "different"
    if any(piece is not None for piece in extra):
        return "superset"
    return "padded" if extra or (rows is not None and rows[0] != rows[1]) else "identical"


def _covers(large: Vocabulary, small: Vocabulary) -> bool:
    """Whether every token of `small` is in `large` at its id, in the same role."""
    if small.size > large.size:
        return False
    return all(
        piece is None
        or (piece == large.pieces[index] and (index in small.special) == (index in large.special))
        for index, piece in enumerate(small.pieces)
    )


def _piece_bytes(core: dict[str, Any]) -> Callable[[str], bytes]:
    """Return how a token's text stands for bytes, from the tokenizer's own description."""
    steps = {step["type"] for key in ("decoder", "pre_tokenizer") for step in _steps(core.get(key))}
    if "ByteLevel" in steps:
        values = {character: byte for byte, character in enumerate(byte_alphabet())}
        return lambda token: _byte_level(token, values)
    if core["model"].get("byte_fallback") or "ByteFallback" in steps:
        return _byte_fallback
    if "Metaspace" in steps:
        return lambda token: token.replace(_WORD_START, " ").encode()
    return lambda token: token.encode()


def _steps(component: dict[str, Any] | None) -> list[dict[str, Any]]:
    if component is None:
        return []
    nested = component.get("decoders") or component.get("pretokenizers") or []
    return [component, *(step for part in nested for step in _steps(part))]


def _byte_level(token: str, values: dict[str, int]) -> bytes:
    if all(character in values for character in token):
        return bytes(values[character] for character in token)
    return token.encode()  # a token outside the alphabet was added without being marked so


def _byte_fallback(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        try:
            return bytes([int(token[3:5], 16)])
        except ValueError:
            return token.encode()
    return token.replace(_WORD_START, " ").encode()
