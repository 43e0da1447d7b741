"""Texts that are too short or too long."""

from collections.abc import Sequence

from auditor.distill.filter_choices import LengthChoice
from auditor.distill.filter_items import Item
from auditor.distill.filter_words import words


def length_reasons(choice: LengthChoice, items: Sequence[Item]) -> list[str | None]:
    """Return for each item why it goes, such as "too few words"; None where it stays.

    Characters are Unicode code points of the text as it is; words those of `filter_words`.
    """
    return [_reason(choice, item.text) for item in items]


def _reason(choice: LengthChoice, text: str) -> str | None:
    counted = {
        "characters": (len(text), choice.min_characters, choice.max_characters),
        "words": (len(words(text)), choice.min_words, choice.max_words),
    }
    for unit, (count, low, high) in counted.items():
        if low is not None and count < low:
            return f"too few {unit}"
        if high is not None and count > high:
            return f"too many {unit}"
    return None
