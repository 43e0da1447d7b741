"""The conditions under which every subject is asked: the system message that the plan names.

A condition that a subject cannot take is no condition of its replies: it is refused by name, and
never dropped.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from auditor.errors import SubjectError
from auditor.models.base import Model
from auditor.types import Message, Probe


def system_of(plan: dict[str, Any]) -> str | None:
    """Return the system message of a plan, or None where it names none."""
    system: str | None = plan.get("system")
    return system


def conditioned(probe: Probe, system: str | None) -> Probe:
    """Return a chat with the system message before it.

    A text to continue has none, and a chat that brings its own keeps that one.
    """
    own = probe.kind == "text" or any(message.role == "system" for message in probe.messages)
    if system is None or own:
        return probe
    messages = (Message(role="system", content=system), *probe.messages)
    return dataclasses.replace(probe, messages=messages)


def check_rendered(model: Model, probes: Sequence[Probe], system: str | None) -> None:
    """Refuse a model whose chat template leaves the system message out.

    Raises:
        SubjectError: it does, or refuses the chat.
    """
    if system is None:
        return
    for probe in probes:
        given = any(m.role == "system" and m.content == system for m in probe.messages)
        if given and system.strip() not in model.render(probe):
            raise SubjectError(
                f"the chat template of {model.ref.spec} drops the system message",
                hint="plan the audit without a system message",
            )
