"""Freezing a plan: which content, models, suites, marks and rules it had, by digest.

A lock holds no time: a clock that its maker controls proves nothing. Deposit its digest with
somebody else, or have it time-stamped, before the first output is collected.
"""

import json
from pathlib import Path
from typing import Any

import auditor
from auditor.canon import json_digest, pretty_json
from auditor.case import atomic_write
from auditor.case_marks import planned_marks
from auditor.deviations import shortfalls
from auditor.errors import PlanError
from auditor.frozen import departures_from_lock, differences, frozen_parts
from auditor.judge.findings import RULES
from auditor.plan import plan_audit
from auditor.plan_file import AuditPlan, load_plan

SCHEMA = "auditor/plan-lock/1"
_SHOWN = 5


def resolved(plan: AuditPlan) -> dict[str, Any]:
    """Return the plan of the case: every model identified by digest, every probe chosen.

    Raises:
        InputError: a model, a suite or a run of the plan cannot be used.
    """
    case_plan = plan_audit(plan.request())
    reference, *others = case_plan["subjects"]
    suspects = [subject for subject in others if subject["role"] == "suspect"]
    for suspect in suspects:
        if suspect["spec"] == reference["spec"]:
            raise PlanError(
                f"the suspect {suspect['spec']} is the reference itself", hint="name another model"
            )
    marks = planned_marks(plan, [suspect["name"] for suspect in suspects])
    return {**case_plan, "marks": marks}


def lock_of(plan: AuditPlan, case_plan: dict[str, Any]) -> dict[str, Any]:
    """Return the lock of a plan as it stands."""
    content = {
        "schema": SCHEMA,
        **frozen_parts(plan.as_json(), case_plan),
        "auditor": auditor.__version__,
    }
    return {**content, "digest": json_digest(content)}


def lock_path(path: Path) -> Path:
    """Return where the lock of a plan file lies: ``PLAN.lock.json`` beside it."""
    return path.with_suffix(".lock.json")


def lock_plan(path: Path) -> dict[str, Any]:
    """Write the lock of a complete plan and return it; a plan that is locked as it is stays so.

    Raises:
        PlanError: the plan is incomplete, or was locked with another content.
        InputError: a model, a suite or a run of it cannot be used.
        StorageError: the disk refused the file.
    """
    plan = load_plan(path)
    missing = incomplete(plan)
    if missing:
        raise PlanError(f"the plan is incomplete: {missing[0]}", hint="; ".join(missing))
    case_plan = resolved(plan)
    for short in shortfalls(plan.as_json(), case_plan["subjects"]):
        raise PlanError(
            f"the plan asks for {short['planned']} and has {short['found']}: {short['what']}",
            hint="add controls, or ask for fewer in population.families",
        )
    lock = lock_of(plan, case_plan)
    target = lock_path(path)
    held = read_lock(target)
    if held is not None and held["digest"] != lock["digest"]:
        raise PlanError(
            f"{target} locks the plan with another content: {_listed(differences(held, lock))}",
            hint="a lock is never replaced: restore the plan, or save the new one under a new name",
        )
    if held is None:
        atomic_write(target, pretty_json(lock))
    return lock


def incomplete(plan: AuditPlan) -> list[str]:
    """Return what a plan must say before it can be locked and does not."""
    needed = {
        "question: what is to be answered": plan.question is not None,
        "hypotheses: independent, and imitation or replication or both": len(plan.hypotheses) > 1
        and any(one.name == "independent" for one in plan.hypotheses),
        "controls: models of known relation to the reference": bool(plan.controls),
        "population: what the controls stand for": plan.population is not None,
        "measures: the primary ones": bool(plan.measures),
        f"decision: the reading rules, {RULES}": plan.decision is not None,
    }
    return [what for what, there in needed.items() if not there]


def read_lock(path: Path) -> dict[str, Any] | None:
    """Return the lock of a file, or None where there is none.

    Raises:
        PlanError: it is no lock, or was edited.
    """
    try:
        lock: dict[str, Any] = json.loads(path.read_bytes())
        content = {key: value for key, value in lock.items() if key != "digest"}
        intact = lock["schema"] == SCHEMA and json_digest(content) == lock["digest"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"{path} is not the lock of a plan: {error}", hint=_RESTORE) from error
    if not intact:
        raise PlanError(
            f"{path} was edited, or another release wrote it: its digest is not its own",
            hint=_RESTORE,
        )
    return lock


_RESTORE = "restore the file that `auditor plan lock` wrote"


def declared_plan(path: Path, accept: str | None = None) -> tuple[AuditPlan, dict[str, Any]]:
    """Return a plan file and the plan of its case, checked against the lock beside it.

    Args:
        path: of the plan.
        accept: why an audit goes on although something differs from what was planned.

    Raises:
        PlanError: something differs and no reason was given, or a reason was and nothing differs.
        InputError: a model, a suite or a run of the plan cannot be used.
    """
    plan = load_plan(path)
    lock = read_lock(lock_path(path))
    case_plan = resolved(plan)
    now = lock_of(plan, case_plan)
    differs = departures_from_lock(lock, now["plan"], case_plan)
    if differs and accept is None:
        raise PlanError(
            f"this is not what was planned: {_listed(differs)}",
            hint="restore it, or go on with --accept-deviation REASON, which the report will show",
        )
    if accept is not None and not differs:
        raise PlanError("nothing differs from the plan", hint="leave out --accept-deviation")
    declared = {
        "plan": now["plan"],
        "digest": json_digest(now["plan"]),
        "lock": lock,
        "accepted": None if accept is None else {"reason": accept, "differs": differs},
    }
    return plan, {**case_plan, "declared": declared}


def _listed(differs: list[dict[str, Any]]) -> str:
    names = [one["key"] for one in differs[:_SHOWN]]
    more = len(differs) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
