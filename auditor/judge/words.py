"""Likelihood ratios in words: a versioned verbal scale and fixed sentences.

A likelihood ratio says how much more probable the *findings* are under one proposition than under
another. It never says how probable a proposition is: that would transpose the conditional and needs
prior odds, which are not the examiner's. So sentences come from templates only, no function here
returns a posterior, and `transposed` finds wording that slipped into other texts.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from auditor.data import data_dir
from auditor.errors import InputError, UndefinedError
from auditor.judge.bounds import Bounds, check_families
from auditor.judge.null import Standing
from auditor.judge.scores import Pair, Proposition

SCHEMA = "auditor/verbal-scale/1"
SCALES = ("enfsi-2015", "nfi")
DEFAULT_SCALE = "enfsi-2015"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Words for ranges of likelihood ratios, from 1 upwards; the other side mirrors them."""

    name: str
    version: int
    title: str
    citation: str
    note: str
    categories: tuple[tuple[float, str], ...]
    """(smallest LR, words), ascending, the first from 1: no support."""

    @property
    def id(self) -> str:
        """``name@version``, as written into a conclusion."""
        return f"{self.name}@{self.version}"


def load_scale(name: str = DEFAULT_SCALE) -> Scale:
    """Return a scale of ``reports/scales``.

    Raises:
        InputError: there is none of that name, or its file is malformed.
    """
    if name not in SCALES:
        raise InputError(f"no verbal scale {name!r}", hint=f"one of {', '.join(SCALES)}")
    path = data_dir("reports") / "scales" / f"{name}.json"
    return scale_from_json(json.loads(path.read_bytes()))


def scale_from_json(content: Any) -> Scale:
    """Return the scale that a file states.

    Raises:
        InputError: it is of another schema, or its categories do not ascend from 1.
    """
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"no verbal scale of schema {SCHEMA}")
    try:
        scale = Scale(
            name=str(content["name"]),
            version=int(content["version"]),
            title=str(content["title"]),
            citation=str(content["citation"]),
            note=str(content["note"]),
            categories=tuple((float(c["from"]), str(c["words"])) for c in content["categories"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the verbal scale cannot be read: {error!r}") from error
    starts = [start for start, _ in scale.categories]
    if starts[:1] != [1.0] or starts != sorted(set(starts)):
        raise InputError(f"the categories of {scale.name} do not ascend from 1: {starts}")
    return scale


def verbal(log10_lr: float, interval: tuple[float, float], scale: Scale) -> str:
    """Return the words for a likelihood ratio, those of its size whichever side it supports.

    A category is used only if the value and the limit of its 95 % interval that is nearer to "no
    support" both reach it, otherwise the lower one of the two; where the interval crosses 0 that is
    "no support".

    Raises:
        UndefinedError: a number is not finite, or the value is outside its interval.
    """
    return scale.categories[category(log10_lr, interval, scale)][1]


def category(log10_lr: float, interval: tuple[float, float], scale: Scale) -> int:
    """Return the index of `verbal`'s category in the scale; 0 is no support.

    Raises:
        UndefinedError: a number is not finite, or the value is outside its interval.
    """
    low, high = interval
    if not all(math.isfinite(number) for number in (log10_lr, low, high)):
        raise UndefinedError("a likelihood ratio without a finite value and interval has no words")
    if not low <= log10_lr <= high:
        raise UndefinedError(f"log10 LR {log10_lr:.4g} is outside its interval {interval}")
    # The limit nearer to 0 is the smaller of the two sizes, none where the interval crosses 0.
    size = max(0.0, low) if log10_lr > 0 else max(0.0, -high)
    reached = [index for index, (start, _) in enumerate(scale.categories) if _reaches(size, start)]
    return max(reached, default=0)


def _reaches(log10_size: float, start: float) -> bool:
    # The logarithm of 100 and the power of 2 are both rounded.
    return log10_size >= math.log10(start) - 1e-12


_IF: dict[Proposition, str] = {
    "independent": "if {suspect} was independent of {reference}",
    "imitation": "if {suspect} imitated {reference}",
    "replication": "if {suspect}'s weights derive from {reference}'s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the suspect and the reference are called in a sentence."""

    suspect: str = "S"
    reference: str = "T"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A likelihood ratio that may be put into words: with its interval and what caps it."""

    pair: Pair
    log10_lr: float
    interval: tuple[float, float]
    bounds: Bounds


def sentence(weight: Weight, scale: Scale, names: Names | None = None) -> str:
    """Return the finding in one sentence, for the proposition that it supports.

    ``The findings are about 30 times more probable if S imitated T than if S was independent of T:
    moderate support.`` The number is never above what the families support, and is rounded down to
    two digits, so that rounding cannot lift it into a higher category.

    Raises:
        UndefinedError: fewer than 10 families in a class (use `rank_sentence`), or a number that is
            not finite.
    """
    check_families(*weight.bounds.families)
    value = weight.bounds.clip(weight.log10_lr)
    interval = (weight.bounds.clip(weight.interval[0]), weight.bounds.clip(weight.interval[1]))
    index = category(value, interval, scale)
    words = scale.categories[index][1]
    first, second = _propositions(weight.pair, names or Names())
    if index == 0:
        return f"The findings do not help to decide whether {first[3:]} or {second[3:]}: {words}."
    if value < 0:
        first, second = second, first
    cap = ""
    if weight.bounds.reached(weight.log10_lr):
        one, other = weight.bounds.families
        cap = f" (the most that {one} and {other} control families allow)"
    nearer = min(abs(interval[0]), abs(interval[1]))
    if category(value, (value, value), scale) > index:
        words += f", because the 95 % interval reaches down to about {rounded_down(nearer)}"
    return (
        f"The findings are about {rounded_down(abs(value))} times more probable {first} "
        f"than {second}{cap}: {words}."
    )


def rank_sentence(place: Standing, names: Names | None = None) -> str:
    """Return what can be said where a likelihood ratio is refused.

    Raises:
        UndefinedError: there are no controls.
    """
    who = names or Names()
    if place.rank_p is None:
        raise UndefinedError("no control families, no rank")
    count = place.families
    closer = count + 1 - round(place.rank_p * (count + 1))
    noun = "family" if count == 1 else "families"
    number = f"{count + 1 - closer}/{count + 1}"
    if closer == count:
        everyone = f"the one control {noun}" if count == 1 else f"all {count} control {noun}"
    else:
        everyone = f"{closer} of {count} control {noun}"
    return f"{who.suspect} is closer to {who.reference} than {everyone}; rank p = {number}."


def rounded_down(log10_size: float) -> str:
    """Return 10 to a power >= 0, cut to two significant digits, as in ``28`` or ``1,200``."""
    size = 10.0**log10_size * (1 + 1e-9)  # 10 ** log10(30) may be just under 30
    step = 10.0 ** (math.floor(math.log10(size)) - 1)
    return f"{math.floor(size / step) * step:,.{0 if step >= 1 else 1}f}".removesuffix(".0")


def _propositions(pair: Pair, names: Names) -> tuple[str, str]:
    first, _, second = pair.partition(":")
    texts = {
        name: text.format(suspect=names.suspect, reference=names.reference)
        for name, text in _IF.items()
    }
    return texts[_known(first)], texts[_known(second)]


def _known(name: str) -> Proposition:
    for proposition in _IF:
        if proposition == name:
            return proposition
    raise UndefinedError(f"no proposition {name!r}")


_LINK = r"(?:imitat|replicat|independen|deriv|copied|copy|distil|trained on|stole)"
_TRANSPOSED = (
    # "the probability that S imitated T", "a 97 % chance that ..."
    rf"\b(?:probability|chance|likelihood|odds|certainty|confidence) (?:that|of) [^.;:]*{_LINK}",
    # "30 times more likely to have imitated", "more probable that S imitated"
    rf"\bmore (?:likely|probable) (?:that|to have) [^.;:]*{_LINK}",
    # "S probably imitated T", "S is most likely independent"
    rf"\b(?:probably|most likely|very likely|certainly|presumably) [^.;:]*{_LINK}",
    # "97 % likely derived"
    rf"\b\d[\d.,]*\s*% (?:likely|probable|sure|certain)\b[^.;:]*{_LINK}",
)


def transposed(text: str) -> tuple[str, ...]:
    """Return the passages that give a probability to a proposition instead of to the findings.

    A net for texts that did not come from `sentence`, not a proof: it knows common wordings only.
    """
    found = (m.group(0) for p in _TRANSPOSED for m in re.finditer(p, text, flags=re.IGNORECASE))
    return tuple(found)
