"""Paraphrase as laundering: the same content in other words, by fixed rules.

It stands for the paraphrase that somebody would run over a teacher's answers to hide their
source: it changes the words that a text is recognised by and keeps what is said. The rules are
made for the corpus `stories`; text without these words stays as it is.
"""

import re
from collections.abc import Mapping

_WORDS: Mapping[str, str] = {
    "said": "spoke up",
    "replied": "told them",
    "answered": "gave a reply",
    "asked": "wished to know",
    "shouted": "cried",
    "whispered": "murmured",
    "laughed": "giggled",
    "smiled": "beamed",
    "looked": "gazed",
    "saw": "noticed",
    "found": "discovered",
    "took": "picked up",
    "gave": "handed",
    "went": "walked",
    "ran": "hurried",
    "came": "arrived",
    "lived": "dwelt",
    "stayed": "remained",
    "wanted": "wished for",
    "tried": "attempted",
    "learned": "came to know",
    "showed": "pointed out",
    "brought": "carried",
    "ate": "tasted",
    "woke": "got up",
    "fell": "dropped",
    "felt": "was feeling",
    "knew": "understood",
    "told": "let them know",
    "named": "called",
    "young": "little",
    "old": "aged",
    "small": "tiny",
    "long": "lengthy",
    "fast": "quick",
    "hard": "tough",
    "afraid": "scared",
    "tired": "weary",
    "proud": "pleased",
    "lazy": "idle",
    "brave": "bold",
    "very": "really",
    "some": "a little",
    "many": "a lot of",
    "evening": "dusk",
    "night": "late hour",
    "friend": "companion",
    "village": "hamlet",
    "forest": "woods",
    "river": "stream",
    "hill": "slope",
    "again": "once more",
    "together": "side by side",
    "until": "up to when",
    "near": "close to",
    "behind": "at the back of",
    "under": "beneath",
    "then": "after that",
    "everybody": "everyone",
    "once": "at one time",
    "both": "the two of them",
    "but": "yet",
    "who": "that",
    "every": "each",
}
_PATTERN = re.compile(r"\b(" + "|".join(_WORDS) + r")\b", flags=re.IGNORECASE)


def reworded(text: str) -> str:
    """Return `text` with its common verbs, adjectives and connectives put in other words.

    Capitals at the start of a word are kept; everything else is unchanged.
    """
    return _PATTERN.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    found = match.group(0)
    other = _WORDS[found.lower()]
    return other[0].upper() + other[1:] if found[0].isupper() else other
