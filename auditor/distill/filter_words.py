"""Words and word n-grams, as the filters count them."""

import re
import unicodedata
from collections.abc import Iterator

# Scripts that put no space between words: each character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+")


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text without case, punctuation and compatibility forms (NFKC)."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def word_ngrams(of: tuple[str, ...], n: int) -> Iterator[tuple[str, ...]]:
    """Yield the n-grams of words in order; none where there are fewer than n."""
    for start in range(len(of) - n + 1):
        yield of[start : start + n]
