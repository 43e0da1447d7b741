"""Texts that say again what an earlier one said: equal words, or nearly the same n-grams."""

from collections.abc import Iterator, Sequence
from typing import Any

from auditor.distill.filter_choices import DuplicateChoice
from auditor.distill.filter_items import Item
from auditor.distill.filter_words import word_ngrams, words
from auditor.errors import MissingExtraError

Grams = frozenset[tuple[str, ...]]


def duplicate_reasons(choice: DuplicateChoice, items: Sequence[Item]) -> list[str | None]:
    """Return "duplicate" or "near duplicate" for items that repeat an earlier, kept one, else None.

    MinHash (Broder 1997) with locality-sensitive hashing proposes earlier texts and may miss a
    few; the similarity that decides is then computed from the n-grams themselves. So no text is
    dropped that is less similar than asked.

    Raises:
        MissingExtraError: `near` is given and datasketch is not installed.
    """
    said = [(words(item.prompt), words(item.text)) for item in items]
    seen: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
    reasons: list[str | None] = []
    for key in said:
        reasons.append("duplicate" if key in seen else None)
        seen.add(key)
    if choice.near is None:
        return reasons
    left = [index for index, reason in enumerate(reasons) if reason is None]
    grams = [_grams(said[index], choice.ngram) for index in left]
    for position in _near(choice, choice.near, grams):
        reasons[left[position]] = "near duplicate"
    return reasons


def similarity(first: Grams, second: Grams) -> float:
    """Return the Jaccard similarity of two sets, in [0, 1]; 1 for two empty ones."""
    union = len(first | second)
    return len(first & second) / union if union else 1.0


def _grams(said: tuple[tuple[str, ...], tuple[str, ...]], n: int) -> Grams:
    text = said[0] + said[1]
    return frozenset(word_ngrams(text, n)) or frozenset({text})


def _near(choice: DuplicateChoice, near: float, grams: Sequence[Grams]) -> Iterator[int]:
    """Yield the positions of sets that are as similar as `near` to an earlier one not yielded."""
    index = _index(choice, near)
    for position, of in enumerate(grams):
        signature = _signature(choice, of)
        if any(similarity(grams[other], of) >= near for other in index.query(signature)):
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
