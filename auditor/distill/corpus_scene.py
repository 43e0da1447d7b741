"""How the rules of a corpus write: seeded draws, sentence frames with slots, English articles.

A frame is a sentence with slots, ``{hero} saw a {look} {animal}.``. A slot is either fixed for
the document (its hero, its place), which makes it coherent, or drawn anew from a word bank.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Bank = Mapping[str, tuple[str, ...]]
Beat = tuple[bool, tuple[str, ...]]

_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])")


class Draw:
    """Seeded choices. `RandomState` because its stream is frozen across numpy versions."""

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed)

    def below(self, n: int) -> int:
        """Return an integer in [0, n)."""
        return int(self._state.random_sample() * n)

    def between(self, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        return low + self.below(high - low + 1)

    def chance(self, share: float) -> bool:
        """Return True with probability `share`."""
        return bool(self._state.random_sample() < share)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options, all equally likely."""
        return options[self.below(len(options))]

    def picks(self, options: Sequence[T], k: int) -> list[T]:
        """Return k different options, in the order drawn."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(k)]


class Scene(dict[str, str]):
    """The fixed slots of one document; any other slot is drawn anew from the bank.

    A slot with a capital first letter is the same slot, capitalised: ``{He}``, ``{Time}``.
    """

    def __init__(self, draw: Draw, bank: Bank, fixed: Mapping[str, str]) -> None:
        super().__init__(fixed)
        self.draw = draw
        self._bank = bank

    def __missing__(self, slot: str) -> str:
        if slot[0].isupper():
            return capitalised(self[slot.lower()])
        return self.draw.pick(self._bank[slot])

    def write(self, frame: str) -> str:
        """Return the frame with its slots filled and its articles right."""
        return with_articles(frame.format_map(self))

    def tell(self, plot: Sequence[Beat], *, skip: float = 0.5) -> str:
        """Return one sentence a beat; an optional beat is left out with probability `skip`."""
        told = []
        for optional, frames in plot:
            if not (optional and self.draw.chance(skip)):
                told.append(self.write(self.draw.pick(frames)))
        return " ".join(told)


@cache
def words(text: str) -> tuple[str, ...]:
    """Return the entries of a comma-separated list, white space trimmed."""
    return tuple(" ".join(entry.split()) for entry in text.split(","))


@cache
def beats(text: str) -> tuple[Beat, ...]:
    """Return the beats of a plot: blocks of frames, one a line; a first line ``?`` is optional."""
    plot = []
    for block in text.strip().split("\n\n"):
        lines = tuple(line.strip() for line in block.strip().splitlines())
        optional = lines[0] == "?"
        plot.append((optional, lines[1:] if optional else lines))
    return tuple(plot)


def with_articles(text: str) -> str:
    """Return the text with ``a`` before a vowel turned into ``an``.

    By letter, not by sound: the word lists hold no word like "hour" or "unicorn".
    """
    return _ARTICLE.sub(r"\1n ", text)


def capitalised(text: str) -> str:
    """Return the text with its first letter in upper case, the rest unchanged."""
    return text[:1].upper() + text[1:]
