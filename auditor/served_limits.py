"""What the facts of a server forbid to conclude, in the words of a report."""

from collections.abc import Iterator, Sequence
from typing import Any

_LISTED = 5
"""Values that a sentence names; a server may call itself otherwise in every reply."""
_LETTERS = 200
"""Of a value in a sentence."""


def served_limits(name: str, facts: dict[str, Any]) -> list[str]:
    """Return what the facts of a server forbid to conclude, as sentences of a report.

    Args:
        name: of the subject in the case.
        facts: as `served_facts`.
    """
    found = [*_naming_limits(name, facts)]
    for kind, what in (("models", "name of its model"), ("fingerprints", "system fingerprint")):
        if facts["changes"][kind]:
            values = _few([_short(value) for value in facts["changed"][kind]], ", then ")
            found.append(
                f"{name}: the server changed the {what} {facts['changes'][kind]} times while it "
                f"was asked ({values}): its replies may be those of more than one model."
            )
    if facts["failed"]:
        listed = ", ".join(f"{words}: {count}" for words, count in facts["failed"].items())
        found.append(
            f"{name}: {sum(facts['failed'].values())} of {facts['attempts']} attempts to ask the "
            f"server failed ({listed}); errors.jsonl lists each."
        )
    return found


def _naming_limits(name: str, facts: dict[str, Any]) -> Iterator[str]:
    replies = {row["value"]: row["replies"] for row in facts["models"]}
    unnamed = replies.pop(None, 0)
    others = [
        f"{_short(v)} ({count} replies)" for v, count in replies.items() if v != facts["asked"]
    ]
    asked = f"{name}: the server was asked for the model {facts['asked']} and named"
    if others:
        yield (
            f"{asked} another in its replies: {_few(others, ', ')}. Whether it is the same model "
            "cannot be seen from outside."
        )
    if unnamed:
        yield f"{asked} none in {unnamed} replies. Whose they are cannot be seen from outside."


def _short(value: str) -> str:
    return value if len(value) <= _LETTERS else value[:_LETTERS] + "..."


def _few(values: Sequence[str], between: str) -> str:
    """Return the first of some values in words, and how many more there are."""
    more = len(values) - _LISTED
    return between.join(values[:_LISTED]) + (f" and {more} more" if more > 0 else "")
