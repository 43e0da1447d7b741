"""Short questions whose first word is a choice: candidates for near ties, and edits of them."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from auditor.canon import digest
from auditor.collect.suite import load_suite
from auditor.types import Message, Probe

SUITES = ("choices", "borderline", "instructions", "reasoning")
"""Whose chats are candidates."""
_WORDS = (
    "apple bread bus cat coffee copper day dog east film fire Friday glass gold green iron ivory "
    "king left lemon lion love March maple Monday money moon music new night north oak old olive "
    "Paris pear piano pine rain red rice right river Rome rose salt sea silver snow south spring "
    "stone sugar summer sun tea train two violin water west winter wolf wood"
)
_FORMS = (
    "{} or {}? One word.",
    "Say {} or {}.",
    "Pick one: {}, {}.",
    "Which is better, {} or {}?",
    "Write a word that goes with {} and {}.",
)


def candidates(count: int, seed: int) -> list[Probe]:
    """Return chats: a quarter of the shipped suites, a quarter of pairs of words, half fragments.

    Args:
        count: at least 1.
        seed: of the choice.
    """
    draw = np.random.RandomState(seed)
    chats = [p for name in SUITES for p in load_suite(name).probes if p.kind == "chat"]
    order = draw.permutation(len(chats))[: (count + 3) // 4]
    kept = [chats[index] for index in sorted(order.tolist())]
    pairs, fragments = _pairs(draw), _fragments(draw)
    kept += [next(pairs) for _ in range(min(count // 4, count - len(kept)))]
    return kept + [next(fragments) for _ in range(count - len(kept))]


def edited(probe: Probe, count: int, draw: np.random.RandomState) -> list[Probe]:
    """Return chats that differ from one by a word or its last characters.

    A small edit moves the first answer a little: edits of a near tie are near ties, on both sides.

    Args:
        probe: a chat.
        count: how many are drawn; fewer are returned where some are alike.
        draw: of the edits.
    """
    (*before, last) = probe.messages
    texts = [_edit(last.content, draw) for _ in range(count)]
    different = [text for text in dict.fromkeys(texts) if text not in ("", last.content)]
    return [
        dataclasses.replace(
            probe,
            id=f"{probe.id}.{digest(text.encode())[7:15]}",  # one probe may be edited again
            messages=(*before, dataclasses.replace(last, content=text)),
        )
        for text in different
    ]


def _edit(text: str, draw: np.random.RandomState) -> str:
    """Put a word before a text, after it or in place of one of its words, or cut off its end."""
    words, listed = text.split(), _WORDS.split()
    word = listed[draw.randint(len(listed))]
    how = draw.randint(4)
    if how == 0:
        return f"{text} {word}"
    if how == 1:
        return f"{word} {text}"
    if how == 2:
        return text[: -draw.randint(1, 5)].strip()
    place = draw.randint(max(1, len(words)))
    return " ".join([*words[:place], word, *words[place + 1 :]])


def _fragments(draw: np.random.RandomState) -> Iterator[Probe]:
    """Yield pieces of text that break off anywhere, in a word as well: every next one is open."""
    texts = [p.text for p in load_suite("continuations").probes if p.text is not None]
    number = 0
    while True:
        words = texts[draw.randint(len(texts))].split()
        first = draw.randint(max(1, len(words) - 4))
        piece = " ".join(words[first : first + 12])
        number += 1
        yield _chat("fragment", number, piece[: draw.randint(8, max(9, len(piece)))].strip())


def _chat(kind: str, number: int, text: str) -> Probe:
    messages = (Message(role="user", content=text),)
    return Probe(id=f"{kind}-{number:05d}", category=kind, messages=messages)


def _pairs(draw: np.random.RandomState) -> Iterator[Probe]:
    """Yield each question once; past the last, the list starts again under other names."""
    words = _WORDS.split()
    count = len(words)
    number = 0
    while True:
        for index in draw.permutation(count * (count - 1) * len(_FORMS)).tolist():
            rest, form = divmod(index, len(_FORMS))
            first, second = divmod(rest, count - 1)
            second += second >= first  # never the same word twice
            number += 1
            yield _chat("pair", number, _FORMS[form].format(words[first], words[second]))
