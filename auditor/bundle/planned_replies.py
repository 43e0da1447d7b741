"""Whether what was gathered of a subject's records is what the plan asks for."""

from collections.abc import Mapping

from auditor.bundle.replies import Replies
from auditor.bundle.scan import Scanned
from auditor.case import Case
from auditor.stored import planned_suites


def planned_replies(
    case: Case, subject: str, scanned: Mapping[str, Scanned]
) -> list[Replies] | None:
    """Return what is known of each record file of a subject, in plan order.

    None where `auditor.stored.iterate_records` is to tell: a file was not plainly right, or does
    not hold exactly the planned replies.

    Raises:
        CaseError: a planned suite or probe is not in the case.
    """
    repeats = case.read_json("plan.json")["repeats"]
    found = []
    for suite in planned_suites(case):
        name = case.records(subject, suite.id).relative_to(case.root).as_posix()
        replies = scanned[name].replies if name in scanned else None
        planned = tuple((probe.id, repeats) for probe in suite.probes)
        if replies is None or replies.runs != planned:
            return None
        if {(kind.subject, kind.suite) for kind in replies.kinds} != {(subject, suite.id)}:
            return None
        found.append(replies)
    return found
