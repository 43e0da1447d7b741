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
REMEDIES = {
    "V01": "read nothing in it; ask for the case again, as the sealing program wrote it",
    "V02": "verify with the release that sealed it (bag-info.txt), or ask for the case again",
    "V03": "a file is not as it was sealed: ask whoever sealed the case for the files again",
    "V04": "take out what the manifests do not list, or ask for the case again",
    "V05": "check --key with the signer by another way; otherwise ask for the signed case again",
    "V06": "ask for the time stamp again; --tsa-root is the root of the authority that stamped; a "
    "log of events that goes back in time rests on a clock alone: ask the signer why",
    "V07": "a line is not as it was collected: ask for the case again",
    "V08": "something planned is missing or unplanned: ask for the whole case, or a new one",
    "V09": "the audit is not the planned one: ask for a case with its deviations stated, or a new "
    "audit",
    "V10": "a number is not what was computed: have `auditor judge` and `seal` repeated",
    "V11": "read data/*.json and not the report; have the case sealed again",
    "V12": "a number cannot be recomputed: do not rely on it; --json names each",
    "V13": "do not repeat the conclusion; have `auditor judge` and `seal` repeated",
    "V14": "do not open the reports in a browser; have the secret changed",
}
"""What to do where a check fails. A change made on the way and one made on purpose look alike."""
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

    @property
    def remedy(self) -> str | None:
        """What to do; None where the check did not fail."""
        return REMEDIES[self.id] if self.outcome == "fail" else None

    def as_json(self) -> dict[str, Any]:
        """Return the check as it is printed."""
        return {
            "id": self.id,
            "title": self.title,
            "outcome": self.outcome,
            "details": list(self.details),
            "remedy": self.remedy,
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
