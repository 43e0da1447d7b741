"""One audit from the plan to the report: plan -> collect -> measure -> judge -> report.

Every stage reads the case folder and writes to it, so each can be repeated on its own.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from auditor.canon import json_digest
from auditor.case import Case, locked, open_case
from auditor.errors import CaseError
from auditor.pairing import Pairs
from auditor.plan import AuditRequest, plan_audit
from auditor.progress import Progress, Silent
from auditor.types import Measurement


def audit(request: AuditRequest, out: Path | None = None, progress: Progress | None = None) -> Case:
    """Return the case of a request, finished: collected, measured, judged and reported.

    Continues the case where `out` (by default named after the plan) holds the same plan.

    Raises:
        InputError: the request cannot be carried out; nothing was written.
        StorageError: the disk is full; repeat the call to continue.
    """
    plan = plan_audit(request)
    case = open_case(out or default_folder(plan), plan)
    with locked(case):
        run_stages(case, progress or Silent())
    return case


def run_stages(case: Case, progress: Progress) -> None:
    """Do what the case still lacks, to its reports. The caller holds the lock."""
    from auditor.collect.run import collect_case
    from auditor.report.render import write_reports

    collect_case(case, progress)
    measure_case(case, progress)
    judge_case(case)
    write_reports(case)


def default_folder(plan: dict[str, Any]) -> Path:
    """Return ``auditor-cases/<suspects>-vs-<reference>-<plan digest>`` in the working directory."""
    subjects = plan["subjects"]
    suspects = [s["name"] for s in subjects if s["role"] == "suspect"]
    stem = suspects[0] if len(suspects) == 1 else f"{len(suspects)}-suspects"
    tag = json_digest(plan).removeprefix("sha256:")[:8]
    return Path("auditor-cases") / f"{stem}-vs-{subjects[0]['name']}-{tag}"


def measure_case(case: Case, progress: Progress) -> None:
    """Write statistics.json: every measure on every suspect, with its place among the controls."""
    subjects = case.read_json("plan.json")["subjects"]
    suspects = [s for s in subjects if s["role"] == "suspect"]
    controls = [s for s in subjects if s["role"] not in ("reference", "suspect")]
    with progress.task("measure", len(suspects) + len(controls)) as task:
        measured = {}
        pairs = Pairs(case)
        for subject in [*suspects, *controls]:
            measured[subject["name"]] = _measure(case, pairs, subject["name"])
            task.advance()
    families = [control["family"] for control in controls]
    control_rows = [measured[control["name"]] for control in controls]
    statistics: dict[str, list[dict[str, Any]]] = {}
    number = 0
    for suspect in suspects:
        rows = statistics.setdefault(suspect["name"], [])
        for index, measurement in enumerate(measured[suspect["name"]]):
            number += 1
            values = tuple(row[index].value for row in control_rows)
            placed = _placed(measurement, values, families)
            rows.append({"id": f"S{number:03d}", **placed.as_json()})
    case.write_json("statistics.json", {"schema": "auditor/statistics/1", "suspects": statistics})


def _measure(case: Case, pairs: Pairs, subject: str) -> tuple[Measurement, ...]:
    from auditor.measures._run import measure_pair

    plan = case.read_json("plan.json")
    pair = pairs.load(plan["subjects"][0]["name"], subject)
    kernel = case.read_json(f"collected/{subject}.json")["implementation"]
    return tuple(_with_kernel(m, kernel) for m in measure_pair(pair, seed=plan["seed"]))


def _with_kernel(measurement: Measurement, kernel: str | None) -> Measurement:
    """Name the kernel that computed the stored positions beside the arithmetic on them."""
    if kernel is None or measurement.group != "distribution" or measurement.value is None:
        return measurement
    return replace(measurement, implementation=f"{kernel}; {measurement.implementation}")


def _placed(
    measurement: Measurement, values: tuple[float | None, ...], families: list[str]
) -> Measurement:
    from auditor.judge.null import family_values, standing

    if measurement.value is None:
        return replace(measurement, control_values=values)
    place = standing(
        measurement.value,
        family_values(values, families, measurement.closer),
        measurement.closer,
    )
    return replace(measurement, control_values=values, z=place.z, rank_p=place.rank_p)


def judge_case(case: Case) -> None:
    """Write conclusion.json from statistics.json.

    Raises:
        CaseError: the case was not measured.
    """
    from auditor.judge.null import family_values, standing
    from auditor.judge.reading import RULES, conclude

    families = [
        s["family"]
        for s in case.read_json("plan.json")["subjects"]
        if s["role"] not in ("reference", "suspect")
    ]
    conclusions = {}
    for suspect, rows in case.read_json("statistics.json")["suspects"].items():
        standings = [
            standing(
                row["value"],
                family_values(row["control_values"], families, row["closer"]),
                row["closer"],
            )
            for row in rows
            if row["value"] is not None
        ]
        conclusions[suspect] = conclude(standings).as_json()
    case.write_json(
        "conclusion.json",
        {"schema": "auditor/conclusion/1", "rules": RULES, "suspects": conclusions},
    )


def existing_case(root: Path) -> Case:
    """Return the case at `root`.

    Raises:
        CaseError: there is none.
    """
    case = Case(root)
    if not (case.data / "plan.json").is_file():
        raise CaseError(f"{root} is not a case folder", hint="a case folder holds data/plan.json")
    return case
