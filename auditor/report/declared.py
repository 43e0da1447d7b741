"""What the report of a planned audit adds: the plan, what departed from it, the marks found."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from auditor.case import Case
from auditor.report import words

MARKS_MEANING = (
    "Before it trained, a distillation run committed to a key that draws marks and to the tests "
    "for them. A model that was not trained on data with these marks gives uniform p-values, "
    "whatever it is: the null holds without controls. A mark that is found says that the suspect "
    "learned from the marked data, directly or through a model that did, or is a copy of such a "
    "model; unlike similarity it has a direction. It enters neither the reading nor any likelihood "
    "ratio above: no calibration holds marks."
)
MARKS_ABSENT = (
    "A mark that is not found is no sign of independence: paraphrase, filtering and further "
    "training remove marks, and a small dose leaves none."
)
INTERRUPTIONS = (
    "Interruptions are no deviations: a continued collection gives the same bytes. Their times are "
    "in custody.jsonl."
)
_TITLES = {"canaries": "Canaries", "green_list": "Green list"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One departure from the plan."""

    kind: str
    what: str
    planned: str
    found: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRow:
    """One test for marks in the suspect."""

    id: str
    """``M001``: of the test in marks.json."""
    title: str
    basis: str
    """What the p-value rests on, in numbers."""
    p_value: float | None
    adjusted_p: float | None
    floor: float | None
    """Least p-value that the test could have given."""
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The plan of a case as declared, and what became of it."""

    facts: tuple[tuple[str, str], ...]
    deviations: tuple[Deviation, ...]
    interruptions: str
    marks: tuple[MarkRow, ...]
    marks_facts: tuple[tuple[str, str], ...]
    meaning: str
    absent: str


def declared_view(case: Case, suspect: str) -> Declared | None:
    """Return what a planned audit adds to the report on a suspect; None where nothing was declared.

    Raises:
        CaseError: deviations.json, or marks.json where marks were planned, is missing.
    """
    plan = case.read_json("plan.json")
    if "declared" not in plan:
        return None
    marks = _marks(case, plan, suspect)
    return Declared(
        facts=tuple(_facts(plan["declared"])),
        deviations=tuple(map(_deviation, case.read_json("deviations.json")["deviations"])),
        interruptions=INTERRUPTIONS,
        marks=() if marks is None else tuple(map(_mark_row, marks["tests"].items())),
        marks_facts=() if marks is None else tuple(_mark_facts(marks)),
        meaning=MARKS_MEANING,
        absent=MARKS_ABSENT,
    )


def deviations_sentence(case: Case) -> str | None:
    """Return how many deviations there are, for the page over all suspects; None without a plan."""
    if "declared" not in case.read_json("plan.json"):
        return None
    count = len(case.read_json("deviations.json")["deviations"])
    found = words.counted(count, "deviation") if count else "no deviations"
    return f"A plan was declared, with {found} from it: see the report on any suspect."


def _facts(declared: dict[str, Any]) -> Iterator[tuple[str, str]]:
    plan, lock = declared["plan"], declared["lock"]
    yield "Title", plan["title"]
    yield "Question", plan["question"] or "not stated"
    for hypothesis in plan["hypotheses"]:
        yield f"If {hypothesis['name']}", hypothesis["statement"]
    population = plan["population"]
    if population is None:
        yield "Population", "not stated"
    else:
        yield "Population", population["description"]
        families = [f"{count} {role}" for role, count in sorted(population["families"].items())]
        yield "Fewest control families", ", ".join(families) or "not stated"
    yield "Primary measures", ", ".join(plan["measures"]) or "none stated: all weigh the same"
    yield "Collection stops", "when everything planned was asked once"
    yield "Decision", plan["decision"] or "not stated"
    yield "Plan digest", declared["digest"]
    yield "Lock digest", "none: the plan was not locked" if lock is None else lock["digest"]
    yield "Seal", "none: this report cannot show that the files stayed as they were"


def _deviation(one: dict[str, Any]) -> Deviation:
    return Deviation(
        kind=one["kind"],
        what=one["what"],
        planned=_value(one["planned"]),
        found=_value(one["found"]),
        reason=one["reason"],
    )


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _marks(case: Case, plan: dict[str, Any], suspect: str) -> dict[str, Any] | None:
    if all(one["suspect"] != suspect for one in plan["marks"]):
        return None
    found: dict[str, Any] = case.read_json("marks.json")["suspects"][suspect]
    return found


def _mark_facts(marks: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Committed to", marks["commitment"]
    yield "Level", f"{marks['alpha']:g}, after Holm over all tests for marks in this case"


def _mark_row(item: tuple[str, dict[str, Any]]) -> MarkRow:
    name, test = item
    return MarkRow(
        id=test["id"],
        title=_TITLES[name],
        basis=_basis(name, test),
        p_value=test["p_value"],
        adjusted_p=test["adjusted_p"],
        floor=test["floor"],
        verdict={True: "found", False: "not found", None: "not tested"}[test["found"]],
    )


def _basis(name: str, test: dict[str, Any]) -> str:
    if test["undefined"] is not None:
        return f"undefined: {test['undefined']}"
    if name == "canaries":
        sets = words.counted(len(test["ranks"]), "set")
        siblings = words.counted(test["of"] - 1, "sibling")
        ranks = ", ".join(map(str, test["ranks"]))
        return f"{sets} of 1 inserted sequence and {siblings}; ranks {ranks} of {test['of']}"
    return (
        f"{words.counted(test['scored'], 'different window')} in "
        f"{words.counted(test['answers'], 'answer')}, {test['green']:,} green; expected "
        f"{words.number(100 * test['expected_share'], 3)} %"
    )
