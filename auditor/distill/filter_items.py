"""What a filter reads."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A document, a prompt, or an answer with its prompt."""

    text: str
    prompt: str = ""
    """Empty where `text` answers nothing."""
