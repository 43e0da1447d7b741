"""The part of V09 on a declared plan: its lock, what the case made of it, and its deviations.

Nothing that the case says of itself is taken for granted: what differs from the lock and what was
departed from is computed again from the files, and compared with what is written and shown.
"""

from collections.abc import Iterator
from typing import Any

from auditor.bundle.evidence import source_digest
from auditor.canon import json_digest
from auditor.case import Case
from auditor.deviations import FILE, deviations
from auditor.frozen import asked, departures_from_lock
from auditor.report.escape import visible_html
from auditor.report.findings import suspects
from auditor.report.result import report_name


def declared_faults(case: Case, plan: dict[str, Any]) -> Iterator[str]:
    """Yield where a planned audit is not the declared one, or does not say where it departed."""
    declared = plan.get("declared")
    if declared is None:
        return
    if json_digest(declared["plan"]) != declared["digest"]:
        yield "the declared plan is not the one of its digest"
    for key, wanted in asked(declared["plan"]).items():
        if plan.get(key) != wanted:
            yield f"plan.json: {key} is not what the declared plan asks for"
    yield from _lock_faults(declared, plan)
    yield from _listed_faults(case)
    yield from _shown_faults(case)


def _lock_faults(declared: dict[str, Any], plan: dict[str, Any]) -> Iterator[str]:
    lock = declared["lock"]
    if lock is not None:
        content = {key: value for key, value in lock.items() if key != "digest"}
        if json_digest(content) != lock["digest"]:
            yield "the lock of the plan was edited"
    stated = {one["key"]: one for one in (declared["accepted"] or {"differs": []})["differs"]}
    found = {one["key"]: one for one in departures_from_lock(lock, declared["plan"], plan)}
    for key in sorted(found.keys() | stated.keys()):
        if key not in stated:
            yield f"{key} is not as it was locked, and nobody accepted that with a reason"
        elif found.get(key) != stated[key]:
            yield f"{key} was accepted as another difference from the lock than there is"


def _listed_faults(case: Case) -> Iterator[str]:
    found, wanted = case.read_json(FILE), deviations(case)
    if wanted is None:
        return
    if (found["plan"], found["lock"]) != (wanted["plan"], wanted["lock"]):
        yield f"{FILE} is about another plan or lock"
    ours = case.read_json("evidence.json")["tool"]["source_digest"] == source_digest()
    stated = [_told(one, words=ours) for one in found["deviations"]]
    for one in wanted["deviations"]:
        if _told(one, words=ours) in stated:
            stated.remove(_told(one, words=ours))
        else:
            yield f"{FILE} does not list: {one['what']}"
    for left in stated:
        yield f"{FILE} lists a deviation that the files do not show: {left['what']}"


def _told(one: dict[str, Any], *, words: bool) -> dict[str, Any]:
    """Return a deviation; without the words of another build, which may say it otherwise."""
    return one if words else {**one, "what": one["kind"]}


def _shown_faults(case: Case) -> Iterator[str]:
    listed = case.read_json(FILE)["deviations"]
    for suspect in suspects(case):
        name = report_name(case, suspect)
        page = (case.data / name).read_text(encoding="utf-8")
        for one in listed:
            if str(visible_html(one["what"])) not in page:
                yield f"data/{name} does not show the deviation: {one['what']}"
