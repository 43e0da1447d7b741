"""Plan adherence (V09): the plan is the one that custody saw, and was carried out as it says."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from auditor.bundle.check import Check, judged
from auditor.bundle.check_chain import custody_events
from auditor.bundle.check_declared import declared_faults
from auditor.bundle.planned_replies import planned_replies
from auditor.bundle.replies import Replies
from auditor.bundle.scan import NOTHING, Scanned
from auditor.canon import digest, file_digest, json_digest, tree_digest
from auditor.case import Case
from auditor.errors import CaseError
from auditor.failed import AMENDED, before, standing
from auditor.stored import iterate_records, planned_suites, probe_digest
from auditor.watched import FILE as WATCH
from auditor.watched import watched_subject

_BARE = 0
"""Version of a suite that is one file of items, whose digest is the suite's."""
_SUITE_FILES = ("suite.toml", "items.jsonl")


def check_plan(case: Case, scanned: Mapping[str, Scanned] = NOTHING) -> Check:
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
        *_watch_faults(case, plan),
        *declared_faults(case, plan),
        *_record_faults(case, plan, scanned),
    ]
    return judged("V09", faults, notes)


def _custody_faults(case: Case, plan: dict[str, Any]) -> Iterator[str]:
    """Yield the events that hold another plan than the case had then.

    From the last event back: one that amended the plan says what it was before.
    """
    events = [event for event in custody_events(case) if "plan" in event]
    later: dict[str, Any] = {}
    for event in reversed(events):
        if event["event"] == AMENDED and _same_change(event, later):
            continue  # a kill between the event and the file: logged again
        later = event
        if event["plan"] != json_digest(plan):
            yield f"plan.json is not the plan at the event {event['event']!r} of custody.jsonl"
        if event["event"] == AMENDED:
            plan = before(plan, event["replaced"])
            yield from _unfit(case, plan, event["replaced"])


def _same_change(event: dict[str, Any], later: dict[str, Any]) -> bool:
    return all(event[key] == later.get(key) for key in ("event", "plan", "replaced"))


def _unfit(case: Case, old: dict[str, Any], replaced: list[dict[str, Any]]) -> Iterator[str]:
    """Yield where an event replaced what a collection had begun with: not a failed suspect."""
    suspects = [subject for subject in old["subjects"] if subject["role"] == "suspect"]
    failed = {e["name"] for e in custody_events(case) if e["event"] == "failed"}
    for subject in replaced:
        if subject not in suspects or subject["name"] not in failed:
            yield f"the plan was amended at {subject['name']}, which is no suspect that had failed"


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
        if suite["version"] == _BARE:
            found = {path.name: file_digest(path) for path in folder.iterdir()}
            whole = list(found.values()) == [suite["digest"]]
        else:
            found = {name: file_digest(folder / name) for name in _SUITE_FILES}
            whole = tree_digest(found) == suite["digest"]
            lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
            if sorted(lines) != sorted(f"{one[7:]}  {name}" for name, one in found.items()):
                yield f"data/probes/{folder.name}/SHA256SUMS is not that of the suite's files"
        if not whole:
            yield f"data/probes/{folder.name} is not the suite of the planned digest"


def _watch_faults(case: Case, plan: dict[str, Any]) -> Iterator[str]:
    subject = watched_subject(plan)
    if subject is None or not (case.data / WATCH).is_file():  # missing: V08 says so
        return
    baseline = case.read_json(WATCH)
    if any(baseline[key] != subject[key] for key in ("spec", "digest")):
        yield f"data/{WATCH} is not of {subject['name']}, whose baseline was planned"


def _record_faults(
    case: Case, plan: dict[str, Any], scanned: Mapping[str, Scanned]
) -> Iterator[str]:
    try:
        yield from _answer_faults(case, plan, scanned)
    except CaseError as error:  # V08 too; what was found before must not be lost
        yield error.message


def _answer_faults(
    case: Case, plan: dict[str, Any], scanned: Mapping[str, Scanned]
) -> Iterator[str]:
    asked = {
        (suite.id, probe.id): probe_digest(probe)
        for suite in planned_suites(case)
        for probe in suite.probes
    }
    for subject in standing(case):
        known = planned_replies(case, subject["name"], scanned)
        if known is not None and all(_as_planned(one, asked, plan) for one in known):
            continue
        for number, row in enumerate(iterate_records(case, subject["name"])):
            if row["outcome"] == "withheld":
                continue
            where = f"record {number} of {subject['name']}"
            if row["probe_digest"] != asked[row["suite"], row["probe_id"]]:
                yield f"{where} answers another probe than the planned one"
            yield from _request_faults(where, row, plan)


def _as_planned(
    replies: Replies, asked: Mapping[tuple[str, str], str], plan: Mapping[str, Any]
) -> bool:
    """Whether what was gathered of a file answers the planned probes under the planned decoding."""
    return all(
        kind.probe_digest == asked.get((kind.suite, kind.probe_id))
        and kind.seed == plan["seed"]
        and kind.decoding_as_json() == plan["decoding"]
        for kind in replies.kinds
    )


def _request_faults(where: str, row: dict[str, Any], plan: dict[str, Any]) -> Iterator[str]:
    request = row["request"]
    if request is None:
        return
    if not _has_digest(request, row["request_digest"]):
        yield f"{where}: the request is not the one of its digest"
    for key in ("decoding", "seed"):
        if request.get(key, plan[key]) != plan[key]:
            yield f"{where} was drawn with another {key} than planned"


def _has_digest(request: Any, stated: str) -> bool:
    """Whether the canonical JSON of a request has a digest."""
    # The fast encoder mostly writes what the canonical one does; if not, the slow one decides.
    text = json.dumps(request, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return digest(text.encode()) == stated or json_digest(request) == stated
