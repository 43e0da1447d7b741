"""Suspects of a scan that could not be loaded or asked: they stay in its plan, with the remedy.

One broken model of a list of hundreds, or a server that is down, must not cost the others their
audit. No stage after the collection knows such a suspect but by ``failed.json``; what a server
replied before it failed stays in its log, from which the next run goes on.
"""

from typing import Any

from auditor.canon import json_digest
from auditor.case import Case
from auditor.exchanges import is_served

FILE = "failed.json"
SCHEMA = "auditor/failed/1"
AMENDED = "plan amended"
"""Event of custody.jsonl: a suspect that had failed is another model now."""

Subject = dict[str, Any]


def failed_rows(case: Case) -> list[dict[str, Any]]:
    """Return ``{"name", "spec", "error", "hint"}`` of each suspect that failed, in plan order."""
    if not (case.data / FILE).is_file():
        return []
    found: list[dict[str, Any]] = case.kept_json(FILE)["suspects"]
    return found


def failed_names(case: Case) -> frozenset[str]:
    """Return the names of the suspects that failed."""
    return frozenset(row["name"] for row in failed_rows(case))


def standing(case: Case) -> list[Subject]:
    """Return the subjects of the plan in its order, without the suspects that failed."""
    failed = failed_names(case)
    subjects: list[Subject] = case.kept_json("plan.json")["subjects"]
    return [subject for subject in subjects if subject["name"] not in failed]


def failure_words(spec: str) -> str:
    """Return what is said of a suspect that failed."""
    return "could not be asked to the end" if is_served(spec) else "could not be loaded"


def goes_on_without(plan: dict[str, Any], subjects: list[Subject]) -> bool:
    """Whether a run goes on where these cannot be had: suspects of a scan are many."""
    return plan["command"] == "scan" and all(subject["role"] == "suspect" for subject in subjects)


def replaced_subjects(
    old: dict[str, Any], new: dict[str, Any], failed: frozenset[str]
) -> list[Subject] | None:
    """Return the subjects of `old` that `new` has with other digests; None where more differs.

    Args:
        old: plan of a case.
        new: plan of the same command, given again.
        failed: the only subjects that may be other models now.
    """
    pairs = list(zip(old["subjects"], new["subjects"], strict=False))
    replaced = [ours for ours, theirs in pairs if ours != theirs]
    if any(subject["name"] not in failed for subject in replaced):
        return None
    return replaced if json_digest(before(new, replaced)) == json_digest(old) else None


def before(plan: dict[str, Any], replaced: list[Subject]) -> dict[str, Any]:
    """Return a plan as it was before the digests of some subjects were replaced."""
    digests = {subject["name"]: subject["digest"] for subject in replaced}
    return {
        **plan,
        "subjects": [
            {**subject, "digest": digests.get(subject["name"], subject["digest"])}
            for subject in plan["subjects"]
        ],
    }
