"""Of which model a case holds a baseline for `auditor watch`, and where."""

from typing import Any

FILE = "watch-baseline.json"


def watched_subject(plan: dict[str, Any]) -> dict[str, Any] | None:
    """Return the subject of a case's plan that a baseline is made of; None where none is."""
    wanted = plan.get("watch")
    if wanted is None:
        return None
    subject: dict[str, Any] = next(s for s in plan["subjects"] if s["role"] == wanted["role"])
    return subject
