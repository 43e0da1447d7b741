"""Plan adherence (V09): the plan is the one that custody saw, and was carried out as it says."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from auditor.bundle.check import Check, judged
from auditor.bundle.check_chain import custody_events
from auditor.canon import file_digest, json_digest, tree_digest
from auditor.case import Case
from auditor.stored import iterate_records, planned_suites, probe_digest

_SUITE_FILES = ("suite.toml", "items.jsonl")


def check_plan(case: Case) -> Check:
    """V09: probes, seed, decoding, models and rules are those of the plan; deviations are named."""
    plan = case.read_json("plan.json")
    notes: list[str] = []
    if plan.get("declared") is not None:
        listed = case.read_json("deviations.json")["deviations"]
        notes = [f"deviation, stated in the report: {one['what']}" for one in listed]
    faults = [
        *_custody_faults(case, plan),
        *_model_faults(case, plan),
        *_suite_faults(case, plan),
        *_record_faults(case, plan),
        *_declared_faults(case, plan),
    ]
    return judged("V09", faults, notes)


def _custody_faults(case: Case, plan: dict[str, Any]) -> Iterator[str]:
    digest = json_digest(plan)
    for event in custody_events(case):
        if "plan" in event and event["plan"] != digest:
            yield f"plan.json is not the plan at the event {event['event']!r} of custody.jsonl"


def _model_faults(case: Case, plan: dict[str, Any]) -> Iterator[str]:
    planned = {subject["name"]: subject for subject in plan["subjects"]}
    for subject in case.read_json("subjects.json")["subjects"]:
        wanted = planned.get(subject["name"], {})
        found = {key: subject[key] for key in ("name", "role", "family")}
        found |= {key: subject["ref"][key] for key in ("spec", "digest")}
        if found != {key: wanted.get(key) for key in found}:
            yield f"subjects.json: {subject['name']} is not the model that the plan names"


def _suite_faults(case: Case, plan: dict[str, Any]) -> Iterator[str]:
    for suite in plan["suites"]:
        folder = case.data / "probes" / f"{suite['name']}@{suite['version']}"
        if not (folder / "SHA256SUMS").is_file():
            continue
        found = {name: file_digest(folder / name) for name in _SUITE_FILES}
        if tree_digest(found) != suite["digest"]:
            yield f"data/probes/{folder.name} is not the suite of the planned digest"
        lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        if sorted(lines) != sorted(f"{one[7:]}  {name}" for name, one in found.items()):
            yield f"data/probes/{folder.name}/SHA256SUMS is not that of the suite's files"


def _record_faults(case: Case, plan: dict[str, Any]) -> Iterator[str]:
    asked = {
        (suite.id, probe.id): probe_digest(probe)
        for suite in planned_suites(case)
        for probe in suite.probes
    }
    for subject in plan["subjects"]:
        for number, row in enumerate(iterate_records(case, subject["name"])):
            where = f"record {number} of {subject['name']}"
            if row["probe_digest"] != asked[row["suite"], row["probe_id"]]:
                yield f"{where} answers another probe than the planned one"
            request = row["request"]
            if request is None:
                continue
            if _digest_of(json.dumps(request)) != row["request_digest"]:
                yield f"{where}: the request is not the one of its digest"
            if request.get("decoding", plan["decoding"]) != plan["decoding"]:
                yield f"{where} was decoded otherwise than planned"


@lru_cache(maxsize=4096)
def _digest_of(request: str) -> str:
    """Return the digest of a request; repeats, and often subjects, are asked the same."""
    return json_digest(json.loads(request))


def _declared_faults(case: Case, plan: dict[str, Any]) -> Iterator[str]:
    declared = plan.get("declared")
    if declared is None:
        return
    if json_digest(declared["plan"]) != declared["digest"]:
        yield "the declared plan is not the one of its digest"
    found = case.read_json("deviations.json")
    lock = declared["lock"]
    if (found["plan"], found["lock"]) != (declared["digest"], lock and lock["digest"]):
        yield "deviations.json is about another plan or lock"
    accepted = (declared["accepted"] or {"differs": []})["differs"]
    changed = [one["key"] for one in accepted]
    wanted = {f"{key} differs from what was planned." for key in changed}
    if wanted - {one["what"] for one in found["deviations"]}:
        yield "deviations.json does not list everything that differs from the lock"
    if lock is None:
        if all(one["kind"] != "unlocked" for one in found["deviations"]):
            yield "the plan was not locked, and deviations.json does not say so"
    else:
        yield from _lock_faults(declared["plan"], lock, changed)


def _lock_faults(plan: Any, lock: dict[str, Any], changed: list[str]) -> Iterator[str]:
    content = {key: value for key, value in lock.items() if key != "digest"}
    if json_digest(content) != lock["digest"]:
        yield "the lock of the plan was edited"
    if lock["plan"] != plan and not any(key.startswith("plan") for key in changed):
        yield "the declared plan is not the locked one"
