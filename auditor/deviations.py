"""Where a planned audit departed from its plan: everything that can be told from the case's files.

A departure is no fault by itself; one that nobody mentions is. Interruptions are none: a continued
collection gives the same bytes, and custody.jsonl has their times.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from auditor.case import Case

SCHEMA = "auditor/deviations/1"
FILE = "deviations.json"
_MARKS = "marks.json"


def write_deviations(case: Case) -> None:
    """Write deviations.json from a judged case; nothing where no plan was declared.

    Raises:
        CaseError: a file of the case is missing.
    """
    found = deviations(case)
    if found is not None:
        case.write_json(FILE, found)


def deviations(case: Case) -> dict[str, Any] | None:
    """Return the content of deviations.json; None where no plan was declared.

    Raises:
        CaseError: a file of the case is missing.
    """
    plan = case.read_json("plan.json")
    declared = plan.get("declared")
    if declared is None:
        return None
    lock = declared["lock"]
    return {
        "schema": SCHEMA,
        "plan": declared["digest"],
        "lock": None if lock is None else lock["digest"],
        "deviations": [
            *_locking(declared),
            *_release(case, lock),
            *shortfalls(declared["plan"], plan["subjects"]),
            *_probes(plan),
            *_replies(case),
            *_measures(case, declared["plan"]["measures"]),
            *_marks(case, plan),
        ],
    }


def _deviation(
    kind: str, what: str, planned: Any = None, found: Any = None, reason: str | None = None
) -> dict[str, Any]:
    return {"kind": kind, "what": what, "planned": planned, "found": found, "reason": reason}


def _locking(declared: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if declared["lock"] is None:
        yield _deviation(
            "unlocked",
            "The plan was not locked: nothing shows that it was not changed after outputs were "
            "seen.",
        )
    accepted = declared["accepted"]
    for one in accepted["differs"] if accepted else ():
        yield _deviation(
            "changed",
            f"{one['key']} differs from what was planned.",
            one["planned"],
            one["found"],
            accepted["reason"],
        )


def _release(case: Case, lock: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the releases that collected and are not that of the lock, and other rules."""
    lines = (case.data / "custody.jsonl").read_bytes().splitlines()
    events = [event for event in map(json.loads, lines) if event["event"] == "collecting"]
    used = list(dict.fromkeys(event["auditor"] for event in events))
    planned = used[0] if lock is None else lock["auditor"]
    for release in used:
        if release != planned:
            what = "Outputs were collected by another release of auditor than planned."
            yield _deviation("release", what, planned, release)
    rules = case.read_json("plan.json")["rules"]["rules"]
    applied = case.read_json("conclusion.json")["rules"]
    if rules != applied:
        yield _deviation("rules", "The reading follows other rules.", rules, applied)


def shortfalls(plan: dict[str, Any], subjects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the roles of which there are fewer control families than the population asks for.

    Args:
        plan: as declared.
        subjects: of the plan of the case.
    """
    families = {(subject["role"], subject["family"]) for subject in subjects}
    count = Counter(role for role, _ in families)
    wanted = (plan["population"] or {"families": {}})["families"]
    for role, fewest in sorted(wanted.items()):
        if count[role] < fewest:
            yield _deviation(
                "controls",
                f"There are {count[role]} control families of the role {role}, fewer than planned.",
                fewest,
                count[role],
            )


def _probes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    wanted = plan["declared"]["plan"]["probes"]
    found = sum(len(suite["probes"]) for suite in plan["suites"])
    if found < wanted:
        yield _deviation("probes", "The suites hold fewer probes than planned.", wanted, found)
    for one in plan["marks"]:
        asked = _asked(plan, one["suspect"])
        if one["probes"] < asked:
            what = f"The suite {one['suite']} holds fewer prompts for marks than planned."
            yield _deviation("probes", what, asked, one["probes"])


def _asked(plan: dict[str, Any], suspect: str) -> int:
    names = [subject["name"] for subject in plan["subjects"] if subject["role"] == "suspect"]
    chosen = plan["declared"]["plan"]["suspects"][names.index(suspect)]["marks"]
    return int(chosen["probes"])


def _replies(case: Case) -> Iterator[dict[str, Any]]:
    """Yield the subjects of which planned replies are missing."""
    lines = (case.data / "errors.jsonl").read_bytes().splitlines()
    # A row with an exchange is of an attempt, which may have been repeated with success.
    rows = [row for row in map(json.loads, lines) if "exchange" not in row]
    failed = Counter(row["subject"] for row in rows)
    plan = case.read_json("plan.json")
    planned = plan["repeats"] * sum(len(suite["probes"]) for suite in plan["suites"])
    for subject in plan["subjects"]:
        name = subject["name"]
        if failed[name]:
            what = f"{name} left {failed[name]} of {planned} requests without a reply."
            yield _deviation("replies", what, planned, planned - failed[name])


def _measures(case: Case, primary: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the primary measures that have no value."""
    for suspect, rows in case.read_json("statistics.json")["suspects"].items():
        found = {row["measure"].partition("@")[0]: row for row in rows}
        for name in primary:
            row = found[name.partition("@")[0]]
            if row["value"] is None:
                what = f"The primary measure {name} is undefined for {suspect}: {row['undefined']}."
                yield _deviation("measure", what)


def _marks(case: Case, plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the planned mark tests that have no result."""
    if not plan["marks"]:
        return
    for suspect, one in case.read_json(_MARKS)["suspects"].items():
        for name, test in one["tests"].items():
            if test["p_value"] is None:
                words = name.replace("_", " ")
                what = f"The marks ({words}) were not tested in {suspect}: {test['undefined']}."
                yield _deviation("marks", what)
