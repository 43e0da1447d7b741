"""Texts that say again what an earlier one said: equal words, or nearly the same n-grams."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from auditor.canon import json_digest
from auditor.distill.digests import digests_of
from auditor.distill.filter_choices import DuplicateChoice
from auditor.distill.filter_items import Item, PickedItems
from auditor.distill.filter_words import word_ngrams, words
from auditor.errors import MissingExtraError

Grams = frozenset[tuple[str, ...]]


def duplicate_reasons(choice: DuplicateChoice, items: Sequence[Item]) -> list[str | None]:
    """Return "duplicate" or "near duplicate" for items that repeat an earlier, kept one, else None.

    MinHash (Broder 1997) with locality-sensitive hashing proposes earlier texts and may miss a
    few; the similarity that decides is then computed from the n-grams themselves. So no text is
    dropped that is less similar than asked. Equality takes 32 bytes of memory a text; the index
    for `near` some 6 kB a text that stays (measured, 128 permutations).

    Raises:
        MissingExtraError: `near` is given and datasketch is not installed.
    """
    said = digests_of(_said_digest(item) for item in items)
    first = np.zeros(len(said), dtype=bool)
    first[said.first_and_last()[0]] = True
    reasons = [None if is_first else "duplicate" for is_first in first]
    if choice.near is not None:
        left = PickedItems(items, np.flatnonzero(first))
        for position in _near(choice, choice.near, left):
            reasons[int(left.positions[position])] = "near duplicate"
    return reasons


def similarity(first: Grams, second: Grams) -> float:
    """Return the Jaccard similarity of two sets, in [0, 1]; 1 for two empty ones."""
    union = len(first | second)
    return len(first & second) / union if union else 1.0


def _said_digest(item: Item) -> str:
    # A word holds no space, so that other words never give the same digest.
    return json_digest([" ".join(words(item.prompt)), " ".join(words(item.text))])


def _grams(item: Item, n: int) -> Grams:
    text = words(item.prompt) + words(item.text)
    return frozenset(word_ngrams(text, n)) or frozenset({text})


def _near(choice: DuplicateChoice, near: float, items: Sequence[Item]) -> Iterator[int]:
    """Yield the positions of items that are as similar as `near` to an earlier one not yielded.

    A candidate's words are read again to compare them: only signatures stay in memory.
    """
    index = _index(choice, near)
    for position, item in enumerate(items):
        of = _grams(item, choice.ngram)
        signature = _signature(choice, of)
        found = (_grams(items[other], choice.ngram) for other in index.query(signature))
        if any(similarity(other, of) >= near for other in found):
            yield position
        else:
            index.insert(position, signature)


def _index(choice: DuplicateChoice, near: float) -> Any:
    try:
        from datasketch import MinHashLSH
    except ImportError as error:
        raise MissingExtraError(
            "the filter duplicate with near needs the package datasketch",
            hint="pip install 'auditor[filters]', or leave out near",
        ) from error
    # Proposals that are too many cost time, ones that are missing are never made good: so the
    # index is set somewhat lower. At 1 it would also refuse, having a single band.
    return MinHashLSH(threshold=0.9 * near, num_perm=choice.permutations, weights=(0.1, 0.9))


def _signature(choice: DuplicateChoice, of: Grams) -> Any:
    from datasketch import MinHash

    signature = MinHash(num_perm=choice.permutations, seed=choice.seed)
    signature.update_batch([" ".join(gram).encode() for gram in of])
    return signature
