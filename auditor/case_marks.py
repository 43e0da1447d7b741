"""The marks of a planned audit: looked for in every suspect for which the plan names a run.

They speak for themselves: a model that was not trained on the marked data gives uniform p-values,
with or without controls. They enter neither the reading nor any likelihood ratio, whose
calibration has no marks in it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.case import Case
from auditor.errors import CaseError, UndefinedError
from auditor.mark_tests import OBSERVED, CommittedMarks, committed_marks
from auditor.progress import Progress
from auditor.types import Access, Probe

if TYPE_CHECKING:
    from auditor.collect.servers import ServerTerms
    from auditor.models.base import Model
    from auditor.plan_file import AuditPlan

SCHEMA, TESTS_SCHEMA = "auditor/case-marks/1", "auditor/case-mark-tests/1"
FILE = "marks.json"
_NEEDS = {"canaries": Access.LOGITS, "green_list": Access.TEXT}


def planned_marks(plan: "AuditPlan", suspects: list[str]) -> list[dict[str, Any]]:
    """Return which run's marks are looked for in which suspect, with the commitment of its ledger.

    Args:
        plan: as written.
        suspects: their names in the case, in the order of the plan.

    Raises:
        InputError: a run is not finished or committed to nothing, or its key is not shown.
    """
    found = []
    for name, suspect in zip(suspects, plan.suspects, strict=True):
        chosen = suspect.marks
        if chosen is None:
            continue
        run = plan.path(chosen.run)
        reveal = None if chosen.reveal is None else plan.path(chosen.reveal)
        suite = plan.suite(chosen.suite)
        suite_digest, prompts = _prompts(suite, chosen.probes, plan.seed)
        found.append(
            {
                "suspect": name,
                "run": str(run),
                "reveal": None if reveal is None else str(reveal),
                "commitment": committed_marks(run, reveal).commitment,
                "suite": suite,
                "suite_digest": suite_digest,
                "probes": len(prompts),
            }
        )
    return found


def _prompts(name: str, count: int, seed: int) -> tuple[str, list[Probe]]:
    from auditor.collect.suite import load_suite, select_probes

    suite = load_suite(name)
    return suite.digest, [p for _, some in select_probes([suite], count, seed) for p in some]


def look_for_marks(case: Case, progress: Progress, terms: "ServerTerms | None" = None) -> None:
    """Write marks.json and what each suspect said; nothing where the plan names no marks.

    What is there is kept. The caller holds the lock.

    Raises:
        CaseError: a model, a run or a suite is not the planned one.
        InputError: the key is not the committed one.
        StorageError: the disk is full; repeat the call to continue.
    """
    plan = case.read_json("plan.json")
    planned = plan.get("marks", [])
    if not planned or (case.data / FILE).is_file():
        return
    with progress.task("marks", len(planned)) as task:
        for one in planned:
            if not (case.data / _file(one)).is_file():
                case.write_json(_file(one), _tested(case, one, terms))
            task.advance()
    case.write_json(FILE, _summary([case.read_json(_file(one)) for one in planned]))


def _file(planned: dict[str, Any]) -> str:
    return f"marks/{planned['suspect']}.json"


def _tested(case: Case, planned: dict[str, Any], terms: "ServerTerms | None") -> dict[str, Any]:
    from auditor.collect.servers import Servers
    from auditor.collect.shelf import Shelf

    plan = case.read_json("plan.json")
    reveal = planned["reveal"]
    marks = committed_marks(Path(planned["run"]), None if reveal is None else Path(reveal))
    if marks.commitment != planned["commitment"]:
        raise CaseError(
            f"{planned['run']} is not the run that was planned: its ledger commits to other marks",
            hint="restore the run, or start a new case with another --out",
        )
    digest, prompts = _prompts(planned["suite"], planned["probes"], plan["seed"])
    if digest != planned["suite_digest"]:
        raise CaseError(
            f"the suite {planned['suite']} is not the one that was planned",
            hint="restore the suite, or start a new case with another --out",
        )
    subject = next(s for s in plan["subjects"] if s["name"] == planned["suspect"])
    opened = Servers(case, terms).open_for_marks
    with Shelf(plan, served=opened) as shelf, shelf.use(subject) as model:
        tests = {name: _test(marks, name, model, prompts, plan) for name in sorted(marks.tests)}
    return {
        "schema": TESTS_SCHEMA,
        "suspect": planned["suspect"],
        "commitment": marks.commitment,
        "alpha": marks.alpha,
        "tests": tests,
    }


def _test(
    marks: CommittedMarks, name: str, model: "Model", prompts: list[Probe], plan: dict[str, Any]
) -> dict[str, Any]:
    """Return the result of one test, or why it has none."""
    allowed = min(model.ref.access, Access[plan["access"]])
    if allowed < _NEEDS[name]:
        return _undefined(
            f"needs {_NEEDS[name].name}, and of {model.ref.spec} {allowed.name} can be used"
        )
    try:
        return {**marks.tests[name](model, prompts, plan["seed"]), "undefined": None}
    except UndefinedError as error:
        return _undefined(error.message)


def _undefined(reason: str) -> dict[str, Any]:
    return {"p_value": None, "floor": None, "undefined": reason}


def _summary(tested: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the content of marks.json: every test, adjusted by Holm over all of the case."""
    from auditor.judge.multiplicity import holm

    each = [(one["suspect"], name) for one in tested for name in one["tests"]]
    results = {one["suspect"]: one for one in tested}
    adjusted = holm([results[suspect]["tests"][name]["p_value"] for suspect, name in each])
    by_test = dict(zip(each, adjusted, strict=True))
    return {
        "schema": SCHEMA,
        "suspects": {
            suspect: {
                "commitment": one["commitment"],
                "alpha": one["alpha"],
                "tests": {
                    name: {
                        "id": f"M{each.index((suspect, name)) + 1:03d}",
                        **{key: value for key, value in test.items() if key != OBSERVED},
                        "adjusted_p": by_test[suspect, name],
                        "found": _found(by_test[suspect, name], one["alpha"]),
                    }
                    for name, test in one["tests"].items()
                },
            }
            for suspect, one in results.items()
        },
    }


def _found(p: float | None, alpha: float) -> bool | None:
    return None if p is None else p <= alpha
