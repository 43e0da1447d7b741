"""Texts that do not read like prose: the simplest of the rules of Rae et al. 2021 (Gopher)."""

from collections import Counter
from collections.abc import Iterator, Sequence

from auditor.distill.filter_choices import QualityChoice
from auditor.distill.filter_items import Item
from auditor.distill.filter_words import word_ngrams

_ELLIPSES = ("...", "\u2026")


def quality_reasons(choice: QualityChoice, items: Sequence[Item]) -> list[str | None]:
    """Return for each item the first bound that it breaks, None where it keeps them all."""
    return [next(_broken(choice, item.text), None) for item in items]


def _broken(choice: QualityChoice, text: str) -> Iterator[str]:
    found = tuple(text.split())
    if not found:
        yield "no words"
        return
    mean = sum(map(len, found)) / len(found)
    lettered = sum(any(map(str.isalpha, word)) for word in found) / len(found)
    rules = {
        "words too short": mean < choice.min_mean_word,
        "words too long": mean > choice.max_mean_word,
        "words without letters": lettered < choice.min_lettered,
        "symbols": symbols_per_word(text) > choice.max_symbols,
        "repeated lines": repeated_lines(text) > choice.max_repeated_lines,
        "a repeated pair of words": top_ngram_share(found, 2) > choice.max_bigram,
        "three repeated words": top_ngram_share(found, 3) > choice.max_trigram,
    }
    yield from (reason for reason, broken in rules.items() if broken)


def symbols_per_word(text: str) -> float:
    """Return the number of hash signs and ellipses per word; `text` has at least one word."""
    return (text.count("#") + sum(map(text.count, _ELLIPSES))) / len(text.split())


def repeated_lines(text: str) -> float:
    """Return the share of non-empty lines that repeat an earlier one, in [0, 1)."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return 1 - len(set(lines)) / len(lines)


def top_ngram_share(words: tuple[str, ...], n: int) -> float:
    """Return the share of the words' characters in the most frequent n-gram, in [0, 1].

    Case is ignored. An n-gram that occurs once repeats nothing and gives 0; of equally frequent
    ones the longest counts. Occurrences that overlap are counted twice, hence the limit at 1.
    """
    counts = Counter(word_ngrams(tuple(word.casefold() for word in words), n))
    top = max(((count, sum(map(len, gram))) for gram, count in counts.items()), default=(0, 0))
    if top[0] < 2:
        return 0.0
    return min(1.0, top[0] * top[1] / sum(map(len, words)))
