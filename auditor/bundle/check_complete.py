"""Completeness (V08): what was planned is there, and nothing else."""

from collections.abc import Iterator, Mapping

from auditor.bundle.check import Check, judged
from auditor.bundle.check_parent import absence_faults, origin_files
from auditor.bundle.completeness import check_complete
from auditor.bundle.evidence import changed_since
from auditor.bundle.planned_replies import planned_replies
from auditor.bundle.scan import NOTHING, Scanned
from auditor.case import Case
from auditor.exchanges import exchange_path, is_served, log_owner, read_exchanges, server_row
from auditor.failed import failed_names, standing
from auditor.stored import iterate_records
from auditor.watched import FILE as WATCH
from auditor.watched import watched_subject
from auditor.withheld import redaction

_OWNED = ("arrays/", "exchanges/")
_OF_MARKS = "exchanges/marks/"
"""Asked after a subject was collected, for a planned test of marks."""


def check_completeness(case: Case, scanned: Mapping[str, Scanned] = NOTHING) -> Check:
    """V08: every planned reply is recorded or listed as failed; arrays are the collected ones."""
    check_complete(case, scanned)
    faults = [
        *_collected_faults(case),
        *_baseline_faults(case),
        *_exchange_faults(case, scanned),
        *absence_faults(case),
    ]
    return judged("V08", faults, _notes(case))


def _exchange_faults(case: Case, scanned: Mapping[str, Scanned]) -> Iterator[str]:
    """Yield where records, subjects.json and the exchanges with a server say different things."""
    plan = case.read_json("plan.json")
    rows = {row["name"]: row for row in case.read_json("subjects.json")["subjects"]}
    for subject in standing(case):
        name = subject["name"]
        log = exchange_path(case, log_owner(plan, subject["spec"]))
        if is_served(subject["spec"]) and not log.is_file() and redaction(case) is not None:
            continue  # withheld
        found = rows.get(name, {}).get("server")
        wanted = server_row(case, plan, subject) if is_served(subject["spec"]) else None
        if found != wanted:
            yield f"subjects.json: of the server of {name} it does not say what its exchanges say"
        if wanted is None:
            continue
        answered = {e["request_digest"] for e in read_exchanges(log) if e["answered"]}
        known = planned_replies(case, name, scanned)
        if known is not None and all(replies.calls <= answered for replies in known):
            continue
        for record in iterate_records(case, name):
            call = (record.get("exchange") or {}).get("request_digest")
            if record["outcome"] not in ("error", "withheld") and call not in answered:
                yield f"a reply of {name} to {record['probe_id']} stands in no exchange"
                break


def _baseline_faults(case: Case) -> Iterator[str]:
    if (case.data / WATCH).is_file() and watched_subject(case.read_json("plan.json")) is None:
        yield f"data/{WATCH} was not planned"


def _notes(case: Case) -> Iterator[str]:
    stated = redaction(case)
    if stated is not None:
        lines = stated["lines"]
        yield (
            f"redacted: {lines['withheld']} of {lines['total']} record lines and "
            f"{len(stated['files'])} files are withheld"
        )


def _collected_faults(case: Case) -> Iterator[str]:
    shown = case.read_json("evidence.json")["files"]
    files = origin_files(case)
    planned = [subject["name"] for subject in standing(case)]
    listed = [subject["name"] for subject in case.read_json("subjects.json")["subjects"]]
    if sorted(planned) != sorted(listed):
        yield "subjects.json does not list the planned subjects"
    # A server that failed had replied to some of what was asked.
    owned = {f"exchanges/{name}.jsonl" for name in failed_names(case)}
    for subject in planned:
        digests = case.read_json(f"collected/{subject}.json")["digests"]
        owned |= digests.keys()
        for name in changed_since(digests, files):
            yield f"data/{name} is not as it was collected from {subject}"
    for name in sorted(shown):
        if name.startswith("collected/") and name[10:-5] not in planned:
            yield f"data/{name} is of no planned subject"
        elif name.startswith(_OWNED) and name not in owned and not name.startswith(_OF_MARKS):
            yield f"data/{name} was collected from no planned subject"
        elif shown[name]["role"] == "other":
            yield f"data/{name} is written by no stage of an audit"
