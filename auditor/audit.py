"""One audit from the plan to the report: plan -> collect -> measure -> judge -> report.

Every stage reads the case folder and writes to it, so each can be repeated on its own.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.canon import json_digest
from auditor.case import Case, check_format, locked, open_case
from auditor.errors import CaseError
from auditor.measuring import measure_case
from auditor.plan import AuditRequest, plan_audit
from auditor.progress import Progress, Silent

if TYPE_CHECKING:
    from auditor.collect.executors import Executor
    from auditor.collect.servers import ServerTerms
    from auditor.models.server_budget import Limits


def audit(
    request: AuditRequest,
    out: Path | None = None,
    progress: Progress | None = None,
    limits: "Limits | None" = None,
) -> Case:
    """Return the case of a request, finished: collected, measured, judged and reported.

    Continues the case where `out` (by default named after the plan) holds the same plan.

    Raises:
        InputError: the request cannot be carried out; nothing was written.
        StorageError: the disk is full; repeat the call to continue.
        ServerError, BudgetError: a server or a limit ended it; repeat the call to continue.
    """
    return carry_out(plan_audit(request), out, progress, server_terms(request, limits))


def server_terms(request: AuditRequest, limits: "Limits | None" = None) -> "ServerTerms":
    """Return how the servers among the models of a request may be asked.

    Raises:
        InputError: a limit on cost without the price of one of them.
    """
    from auditor.collect.servers import ServerTerms
    from auditor.exchanges import is_served
    from auditor.models.server_budget import Limits
    from auditor.models.specifier import parse

    asked = (request.reference, *request.suspects, *(c.spec for c in request.controls))
    specs = tuple(spec for spec in asked if is_served(spec))
    limits = limits or Limits()
    limits.check(parse(spec).rest for spec in specs)
    return ServerTerms(specs=specs, limits=limits)


def carry_out(
    plan: dict[str, Any],
    out: Path | None = None,
    progress: Progress | None = None,
    terms: "ServerTerms | None" = None,
    executor: "Executor | None" = None,
    context: dict[str, Any] | None = None,
) -> Case:
    """Return the case of a plan, finished; see `audit`.

    Args:
        plan: what is done.
        out: folder of the case.
        progress: shows it.
        terms: how servers may be asked.
        executor: its workers run the models; None runs them here.
        context: ``auditor/prefilter/1``: what a first look at the suspects' files found. It is
            kept beside the findings and shown as context; nothing is judged from it.
    """
    from auditor.collect.failures import amend

    root = out or default_folder(plan)
    amend(root, plan)
    case = open_case(root, plan)
    with locked(case):
        if context is not None:
            case.write_json("prefilter.json", context)
        run_stages(case, progress or Silent(), terms, executor)
    return case


def run_stages(
    case: Case,
    progress: Progress,
    terms: "ServerTerms | None" = None,
    executor: "Executor | None" = None,
) -> None:
    """Do what the case still lacks, to its reports. The caller holds the lock."""
    from auditor.report.render import write_reports

    collect(case, progress, terms, executor)
    measure_case(case, progress)
    judge_case(case)
    write_reports(case)


def collect(
    case: Case,
    progress: Progress,
    terms: "ServerTerms | None" = None,
    executor: "Executor | None" = None,
) -> None:
    """Ask the models everything that the plan asks for and the case lacks.

    The marks of a run and the baseline of a watch are part of it.

    Raises:
        CaseError: a model, a suite, a run or a file is not the one that was planned or written.
        InputError: a baseline for `auditor watch` cannot be made of the model.
        StorageError: the disk is full; repeat the call to continue.
        ServerError, BudgetError: a server or a limit ended it; repeat the call to continue.
        ExecutorError: the executor cannot be reached, or loses its workers; likewise.
    """
    from auditor.case_marks import look_for_marks
    from auditor.case_watch import enrol_watched
    from auditor.collect.run import collect_case

    collect_case(case, progress, terms, executor)
    look_for_marks(case, progress, terms)
    enrol_watched(case, progress)


def default_folder(plan: dict[str, Any]) -> Path:
    """Return ``auditor-cases/<suspects>-vs-<reference>-<plan digest>`` in the working directory."""
    subjects = plan["subjects"]
    suspects = [s["name"] for s in subjects if s["role"] == "suspect"]
    stem = suspects[0] if len(suspects) == 1 else f"{len(suspects)}-suspects"
    tag = json_digest(plan).removeprefix("sha256:")[:8]
    return Path("auditor-cases") / f"{stem}-vs-{subjects[0]['name']}-{tag}"


def judge_case(case: Case) -> None:
    """Write conclusion.json from statistics.json and, of a declared plan, deviations.json.

    Raises:
        CaseError: the case was not measured.
    """
    from auditor.deviations import write_deviations
    from auditor.judge.conclusions import judge

    case.write_json("conclusion.json", judge(case))
    write_deviations(case)


def existing_case(root: Path) -> Case:
    """Return the case at `root`.

    Raises:
        CaseError: there is none, or one of a version that this release cannot read.
    """
    check_format(root)
    case = Case(root)
    if not (case.data / "plan.json").is_file():
        raise CaseError(f"{root} is not a case folder", hint="a case folder holds data/plan.json")
    return case


def existing_draft(root: Path) -> Case:
    """Return the case at `root`, which may be written to.

    Raises:
        CaseError: as `existing_case`; or it is sealed.
    """
    case = existing_case(root)
    if (root / "bagit.txt").exists():
        raise CaseError(f"{root} is sealed: nothing is written to it", hint="give the draft")
    return case
