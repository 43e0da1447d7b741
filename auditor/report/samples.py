"""Replies side by side: which are shown is a declared rule, and what differs is computed.

The rule: of the probes that both models answered, ordered by the share of words that the first
replies have in common, the closest, the median and the furthest; three more by the digest of
(seed, probe id), which nobody can choose; and the longest passage that both replies share.
"""

import difflib
import heapq
import re
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from auditor.canon import json_digest
from auditor.outputs import Pair
from auditor.types import Probe
from auditor.withheld import Withheld

RANDOM_SAMPLES = 3
RANKED_WORDS = 200
"""Words of a reply that enter its rank: bounds the work on very long replies."""
_RANKED_CHARACTERS = 20 * RANKED_WORDS
SHOWN_CHARACTERS = 1500
"""Of a reply or a prompt in a report; the records hold the whole text."""
# Chinese and Japanese characters and Korean syllables count as words: no spaces part them.
_WIDE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_WIDE}]|[^\W{_WIDE}]+|[^\w\s]|\s+")

RULE = (
    "Of the probes that both models answered, ordered by the share of words that the two first "
    "replies have in common: the closest, the median and the furthest; then the "
    f"{RANDOM_SAMPLES} with the smallest digest of (seed, probe), which nobody can choose; then "
    "the one with the longest run of words in both replies. "
    f"The order looks at the first {RANKED_WORDS} words of a reply."
)

WITHHELD_RULE = (
    " A withheld reply has no place in this order: it can only be among those that nobody can "
    "choose."
)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a reply: ``same``, only here (``other``), longest ``shared``, ``withheld``."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What the models were given: a message, or the text to continue."""

    role: str
    text: str
    """At most `SHOWN_CHARACTERS`."""
    hidden: int
    """Characters beyond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The first replies of both models to one probe, aligned."""

    probe: Probe
    prompt: tuple[Turn, ...]
    reasons: tuple[str, ...]
    """Why it is shown: ``closest``, ``median``, ``furthest``, ``random``, ``longest run``."""
    similarity: float | None
    """Share of words in common, 2 M / T of difflib, on the first `RANKED_WORDS` words; None where
    a reply is withheld."""
    run: int
    """Words of the longest run in both replies."""
    reference: tuple[Span, ...]
    suspect: tuple[Span, ...]
    hidden: tuple[int, int]
    """Characters of the two replies beyond `SHOWN_CHARACTERS`."""
    identical: bool
    """Both replies are the same, to the last character."""


def comparisons(pair: Pair, seed: int) -> list[Comparison]:
    """Return the comparisons that the rule names, each probe once, in the order of the rule."""
    if pair.reference.texts is None or pair.suspect.texts is None or not pair.probes:
        return []
    withheld, scores, runs = set(), array("d"), array("q")
    for a, b in zip(pair.reference.texts, pair.suspect.texts, strict=True):
        if isinstance(a[0], Withheld) or isinstance(b[0], Withheld):
            withheld.add(len(scores))
        words = _words(a[0]), _words(b[0])
        scores.append(_similarity(*words))
        runs.append(_longest_run(*words).size)
    reasons: dict[int, list[str]] = {}
    for index, reason in _chosen(pair.probes, scores, runs, seed, withheld):
        reasons.setdefault(index, []).append(reason)
    return [_comparison(pair, index, tuple(why), scores[index]) for index, why in reasons.items()]


def _chosen(
    probes: Sequence[Probe],
    scores: Sequence[float],
    runs: Sequence[int],
    seed: int,
    withheld: Collection[int] = (),
) -> list[tuple[int, str]]:
    shown = [index for index in range(len(probes)) if index not in withheld]
    order = sorted(shown, key=lambda i: (-scores[i], probes[i].id))
    ends = (0, (len(order) - 1) // 2, -1) if order else ()
    names = ("closest", "median", "furthest")
    chosen = [(order[end], name) for end, name in zip(ends, names, strict=False)]
    taken = {index for index, _ in chosen}
    left = (index for index in range(len(probes)) if index not in taken)
    rest = heapq.nsmallest(RANDOM_SAMPLES, left, key=lambda i: json_digest([seed, probes[i].id]))
    chosen += [(index, "random") for index in rest]
    longest = max(order, key=lambda i: runs[i], default=None)  # of equal ones the closest
    if longest is not None and runs[longest]:
        chosen.append((longest, "longest run"))
    return chosen


def _words(text: str) -> list[str]:
    words = (token for token in _WORD.findall(text[:_RANKED_CHARACTERS]) if not token.isspace())
    return list(words)[:RANKED_WORDS]


def _similarity(a: list[str], b: list[str]) -> float:
    """Return 2 M / T in [0, 1]: M words in matching blocks, T words in both; 1 for two empty."""
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def _longest_run(a: list[str], b: list[str]) -> difflib.Match:
    return difflib.SequenceMatcher(None, a, b, autojunk=False).find_longest_match()


def _comparison(pair: Pair, index: int, reasons: tuple[str, ...], similarity: float) -> Comparison:
    texts = [(side.texts or ())[index][0] for side in (pair.reference, pair.suspect)]
    if any(isinstance(text, Withheld) for text in texts):
        return _unaligned(pair.probes[index], reasons, texts)
    shown = [_WORD.findall(text[:SHOWN_CHARACTERS]) for text in texts]
    reference, suspect = aligned(*shown)
    return Comparison(
        probe=pair.probes[index],
        prompt=_turns(pair.probes[index]),
        reasons=reasons,
        similarity=similarity,
        run=_longest_run(_words(texts[0]), _words(texts[1])).size,
        reference=reference,
        suspect=suspect,
        hidden=(_beyond(texts[0]), _beyond(texts[1])),
        identical=texts[0] == texts[1],
    )


def _unaligned(probe: Probe, reasons: tuple[str, ...], texts: Sequence[str]) -> Comparison:
    """Return a comparison of which a side is withheld, so that nothing can be compared."""
    reference, suspect = (
        (Span("withheld" if isinstance(text, Withheld) else "same", text[:SHOWN_CHARACTERS]),)
        for text in texts
    )
    return Comparison(
        probe=probe,
        prompt=_turns(probe),
        reasons=reasons,
        similarity=None,
        run=0,
        reference=reference,
        suspect=suspect,
        hidden=(_beyond(texts[0]), _beyond(texts[1])),
        identical=False,
    )


def _turns(probe: Probe) -> tuple[Turn, ...]:
    given: list[tuple[str, str]] = [(message.role, message.content) for message in probe.messages]
    if probe.text is not None:
        given.append(("text to continue", probe.text))
    return tuple(Turn(role, text[:SHOWN_CHARACTERS], _beyond(text)) for role, text in given)


def _beyond(text: str) -> int:
    return max(0, len(text) - SHOWN_CHARACTERS)


def aligned(a: list[str], b: list[str]) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Return two token lists as spans; joined, each gives back its text."""
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    blocks = matcher.get_matching_blocks()
    best = max(blocks, key=lambda block: block.size)
    # One or two words in common are no passage, and of equal texts nothing stands out.
    passage = a != b and sum(not token.isspace() for token in a[best.a : best.a + best.size]) > 2
    kinds_a, kinds_b = ["other"] * len(a), ["other"] * len(b)
    for block in blocks:
        kind = "shared" if passage and block == best else "same"
        kinds_a[block.a : block.a + block.size] = [kind] * block.size
        kinds_b[block.b : block.b + block.size] = [kind] * block.size
    return _spans(a, kinds_a), _spans(b, kinds_b)


def _spans(tokens: list[str], kinds: list[str]) -> tuple[Span, ...]:
    last = len(tokens) - 1
    trimmed = [
        # A space at the edge of a marked stretch would be underlined for nothing.
        "same"
        if token.isspace() and not (0 < i < last and kinds[i - 1] == kind == kinds[i + 1])
        else kind
        for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
    ]
    pairs = zip(trimmed, tokens, strict=True)
    return tuple(
        Span(kind, "".join(token for _, token in run))
        for kind, run in groupby(pairs, key=lambda item: item[0])
    )
