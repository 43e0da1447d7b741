"""Answers that decline to answer, by phrases that open English refusals.

A heuristic: it misses refusals in other words and other languages, and takes a quoted refusal at
the start of a text for one. Change a phrase, and raise the version in `filters`.
"""

import re
from collections.abc import Sequence

from auditor.distill.filter_choices import RefusalChoice
from auditor.distill.filter_items import Item

PHRASES = (
    r"i(?:'m| am) (?:really |very |so |truly )?sorry,? but",
    r"i apologi[sz]e,? but",
    r"i(?:'m| am) (?:not able|unable) to",
    r"i (?:can't|cannot|can not|won't|will not) (?:help|assist|comply|provide|answer|do that|"
    r"fulfil+|support|participate|engage|create|generate|discuss)",
    r"as an ai(?: language)?(?: model| assistant)?,? i",
    r"i must (?:respectfully )?(?:decline|refuse)",
    r"i(?:'m| am) not (?:comfortable|allowed|permitted)",
    r"(?:it is|it's|that is|that's|it would be) against my (?:guidelines|programming|policy)",
)
"""Regular expressions, of lower-case text with straight apostrophes."""

_ANY = re.compile(r"\b(?:" + "|".join(PHRASES) + r")\b")


def refusal_reasons(choice: RefusalChoice, items: Sequence[Item]) -> list[str | None]:
    """Return "refusal" for each item in which a phrase begins early enough, else None."""
    return ["refusal" if _declines(choice, item.text) else None for item in items]


def _declines(choice: RefusalChoice, text: str) -> bool:
    plain = " ".join(text.replace("\u2019", "'").lower().split())
    found = _ANY.search(plain)
    return found is not None and found.start() < choice.within_characters
