"""One numbered check of a sealed case and what came of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from auditor.errors import AuditorError

Outcome = Literal["pass", "fail", "skipped"]

TITLES = {
    "V01": "safe to read",
    "V02": "schemas and versions",
    "V03": "BagIt manifests",
    "V04": "closed world",
    "V05": "signatures",
    "V06": "times",
    "V07": "chains and Merkle roots",
    "V08": "completeness",
    "V09": "plan adherence",
    "V10": "references",
    "V11": "report rendered again",
    "V12": "replay",
    "V13": "caps and words",
    "V14": "no secrets, nothing executable",
}
"""Stable ids (evidence format 1)."""
_SHOWN = 20
_MALFORMED = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OSError,
    EOFError,
    ArithmeticError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found."""

    id: str
    outcome: Outcome
    details: tuple[str, ...] = ()
    """What failed, why it was skipped, or what is worth knowing."""

    @property
    def title(self) -> str:
        """In two or three words."""
        return TITLES[self.id]

    def as_json(self) -> dict[str, Any]:
        """Return the check as it is printed."""
        return {
            "id": self.id,
            "title": self.title,
            "outcome": self.outcome,
            "details": list(self.details),
        }


def judged(name: str, faults: Iterable[str], notes: Iterable[str] = ()) -> Check:
    """Return a check that fails where there is a fault; the first 20 faults are named."""
    found = list(faults)
    if not found:
        return Check(id=name, outcome="pass", details=tuple(notes))
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return Check(id=name, outcome="fail", details=(*found[:_SHOWN], *more))


def skipped(name: str, *reasons: str) -> Check:
    """Return a check that was not made, and why."""
    return Check(id=name, outcome="skipped", details=reasons)


def guarded(name: str, check: Callable[[], Check]) -> Check:
    """Return what a check found; a case that cannot be read as its format says fails it."""
    try:
        return check()
    except AuditorError as error:
        return judged(name, [error.message])
    # Files of strangers: any shape of JSON may be in them, and none may end the verification.
    except _MALFORMED as error:
        return judged(name, [f"cannot be read as the format says: {type(error).__name__}: {error}"])
    except RecursionError:
        return judged(name, ["cannot be read as the format says: nested too deep"])
