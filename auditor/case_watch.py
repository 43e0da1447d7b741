"""The baseline of a case: an audit that asks for one also enrols a model for `auditor watch`.

It is asked of a model whose weights are at hand, so nothing is paid for it; it enters neither the
measures nor the reading.
"""

from typing import Any

from auditor.case import Case
from auditor.errors import CaseError, InputError
from auditor.progress import Progress
from auditor.types import WATCHED, Access
from auditor.watched import FILE, watched_subject

_BY_HAND = "leave it out, and make a baseline with: auditor watch SPEC --enrol FILE"


def check_watch(role: str, access: Access, subjects: list[dict[str, Any]]) -> None:
    """Refuse a baseline that an audit cannot make.

    Args:
        role: whose it is, one of `WATCHED`.
        access: the most that may be used of any model.
        subjects: of the plan.

    Raises:
        InputError: the role is none of them, or of several suspects; or the weights are not at
            hand, or may not be used.
    """
    named = [subject["spec"] for subject in subjects if subject["role"] == role]
    if role not in WATCHED or len(named) != 1:
        raise InputError(
            f"a watch baseline of {role!r}, which is {len(named)} models here",
            hint=f"one of: {', '.join(WATCHED)}; of several suspects none",
        )
    from auditor.models.specifier import identify

    if min(access, identify(named[0]).access) < Access.WEIGHTS:
        raise InputError(
            f"a watch baseline of {named[0]}, whose weights are not at hand or not to be used",
            hint=_BY_HAND,
        )


def enrol_watched(case: Case, progress: Progress) -> None:
    """Write the baseline that the plan asks for; one that is there is kept.

    The caller holds the lock.

    Raises:
        CaseError: the model is not the planned one.
        InputError: too few questions would show a change of it.
        SubjectError: it cannot be loaded any more.
        StorageError: the disk is full; repeat the call to continue.
    """
    plan = case.read_json("plan.json")
    subject = watched_subject(plan)
    if subject is None or (case.data / FILE).is_file():
        return
    from auditor.enrolment.baseline import Enrolling, enrol

    wanted = Enrolling(
        spec=subject["spec"],
        candidates=plan["watch"]["candidates"],
        seed=plan["seed"],
        device=plan["device"],
    )
    baseline = enrol(wanted, progress)
    if baseline["digest"] != subject["digest"]:
        raise CaseError(
            f"{subject['spec']} is not the model that was planned: its digest is "
            f"{baseline['digest']}, planned {subject['digest']}",
            hint="restore the model, or start a new case with another --out",
        )
    # The same plan gives the same bytes: custody.jsonl has the times of a case.
    del baseline["created"]
    case.write_json(FILE, baseline)
