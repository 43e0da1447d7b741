"""The result of a case as JSON: ``auditor/result/1`` for one suspect, ``auditor/scan/1`` for all.

The files of a case have paths relative to themselves, so that a case can be moved and two runs
give the same bytes; the objects printed by commands have the paths as the caller knows them.
"""

from typing import Any

from auditor.case import Case
from auditor.errors import CaseError
from auditor.failed import failed_rows
from auditor.report.findings import planned_suspects, suspects

_SUITE_FIELDS = ("name", "version", "digest")
PREFILTER = "prefilter.json"
"""In ``data/`` of a scan that looked at the files of its suspects first."""
_MODEL_FIELDS = ("spec", "digest", "tokenizer_digest", "parameters", "access")


def report_name(case: Case, suspect: str, suffix: str = "html") -> str:
    """Return the file name of a suspect's report; ``report.html`` where it is the only one."""
    return f"report.{suffix}" if len(planned_suspects(case)) == 1 else f"report-{suspect}.{suffix}"


def result_name(case: Case, suspect: str) -> str:
    """Return the file name of a suspect's result."""
    return "result.json" if len(planned_suspects(case)) == 1 else f"result-{suspect}.json"


def result_json(case: Case, suspect: str) -> dict[str, Any]:
    """Return the result of one suspect (DESIGN, section 5), from files of the case.

    Raises:
        CaseError: the case is not judged, or holds no such suspect.
    """
    report = case.data / report_name(case, suspect)
    return _result(case, suspect, str(case.root), str(report))


def stored_result(case: Case, suspect: str) -> dict[str, Any]:
    """Return the result as it is stored in the case: its paths start at the data folder."""
    return _result(case, suspect, "..", report_name(case, suspect))


def scan_json(case: Case) -> dict[str, Any]:
    """Return the results of every suspect, in the order they were given."""
    results = [result_json(case, suspect) for suspect in suspects(case)]
    whole: dict[str, Any] = {"schema": "auditor/scan/1", "results": results}
    failed = failed_rows(case)
    if failed:
        whole["failed"] = failed
    if (case.data / PREFILTER).is_file():
        whole["prefilter"] = case.read_json(PREFILTER)
    return whole


def _result(case: Case, suspect: str, folder: str, report: str) -> dict[str, Any]:
    plan = case.kept_json("plan.json")
    refs = {s["name"]: s for s in case.kept_json("subjects.json")["subjects"]}
    statistics = case.kept_json("statistics.json")["suspects"]
    conclusions = case.kept_json("conclusion.json")["suspects"]
    missing = [suspect not in part for part in (refs, statistics, conclusions)]
    if any(missing):
        raise CaseError(
            f"{suspect!r} is not a judged suspect of {case.root}",
            hint=f"its suspects: {', '.join(suspects(case))}",
        )
    controls = [s for s in refs.values() if s["role"] not in ("reference", "suspect")]
    return {
        "schema": "auditor/result/1",
        "case": folder,
        "report": report,
        "suspect": _model(refs[suspect]),
        "reference": _model(refs[plan["subjects"][0]["name"]]),
        "controls": [
            {
                "spec": control["ref"]["spec"],
                "role": control["role"],
                "family": control["family"],
                "digest": control["ref"]["digest"],
            }
            for control in controls
        ],
        "suites": [
            {**{key: suite[key] for key in _SUITE_FIELDS}, "probes": len(suite["probes"])}
            for suite in plan["suites"]
        ],
        "measurements": statistics[suspect],
        "conclusion": conclusions[suspect],
        **_declared(case, plan, suspect),
    }


def _declared(case: Case, plan: dict[str, Any], suspect: str) -> dict[str, Any]:
    """Return what a planned audit adds: deviations, and marks where they were looked for."""
    if "declared" not in plan:
        return {}
    found = {"deviations": case.read_json("deviations.json")["deviations"]}
    planned = any(one["suspect"] == suspect for one in plan["marks"])
    return found | ({"marks": case.read_json("marks.json")["suspects"][suspect]} if planned else {})


def _model(subject: dict[str, Any]) -> dict[str, Any]:
    return {field: subject["ref"][field] for field in _MODEL_FIELDS}
