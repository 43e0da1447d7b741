"""What a case that goes on measures: a suspect that was repaired meanwhile changes no choice."""

from typing import Any

from auditor.registry.listing import Listed
from auditor.registry.prefilter import Look


def chosen_before(
    plan: dict[str, Any], content: dict[str, Any], look: Look, suspects: Listed
) -> frozenset[str] | None:
    """Return the suspects that a case measures, where the same look chose them; else None.

    The ranking may be another now: who could not be read was planned beside the nearest, and may
    be read today. Of another look, or other suspects, the ranking is made anew; where it gives
    other suspects than the case has, `auditor.case.open_case` refuses to go on.

    Args:
        plan: ``plan.json`` of the case.
        content: its ``prefilter.json``.
        look: what is asked now.
        suspects: who is named now.
    """
    asked = (look.reference, look.seed, look.top)
    if asked != (content["reference"]["spec"], content["seed"], content.get("top")):
        return None
    read = {row["spec"] for row in content["suspects"]}
    refused = {row["entry"] for row in content["refused"] if not row["repeated"]}
    named = {entry.spec for entry in suspects.entries}
    if not read <= named <= read | refused:
        return None
    planned = {row["spec"] for row in plan["subjects"] if row["role"] == "suspect"}
    return frozenset(planned & named)
