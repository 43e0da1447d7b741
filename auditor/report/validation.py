"""Validation with error rates, robustness and power: how far the findings can be trusted."""

from collections.abc import Iterator
from typing import Any

from auditor.failed import failed_rows, failure_words
from auditor.report.findings import Findings
from auditor.report.measure_titles import measure_title
from auditor.report.parts import Cell, Grid, Part
from auditor.report.words import counted, number

_RATES = (
    "At the threshold that holds in this case, the same test was applied to control models of "
    "known truth from the pack whose population holds this case. False support: families without "
    "a link that the test would read as linked. Missed: families of students with that share of "
    "imitation that it would not. A family counts where any of its models errs; the limits are "
    "exact for so many families (Clopper and Pearson, 95 %). None of so many is not never."
)
_NO_RATES = (
    "No error rate is known for this case: no validated population of controls holds it. The "
    "rank among the controls of the case is what stands in its place; with K control families no "
    "rank p can be smaller than 1/(K + 1)."
)
_OWN = (
    "These are error rates of the program on models of known truth. An examiner's own error rate "
    "comes from blinded exercises (auditor exercise)."
)


def validation_part(findings: Findings) -> Part:
    """Return the error rates that the case stores, or what stands in their place."""
    rates = findings.conclusion.get("error_rates") or []
    return Part(
        key="validation",
        title="Validation and error rates",
        paragraphs=(_RATES if rates else _NO_RATES,),
        grids=(_grid(rates),) if rates else (),
        closing=(_OWN,),
    )


def _grid(rates: list[dict[str, Any]]) -> Grid:
    return Grid(
        caption="Errors of each decisive test at the threshold of this case",
        columns=(
            "Test", "Reads imitation above z", "Models", "Error", "Families in error", "Share",
            "95 % from", "to",
        ),
        rows=tuple(row for one in rates for row in _rows(one)),
    )  # fmt: skip


def _rows(one: dict[str, Any]) -> Iterator[tuple[Cell, ...]]:
    head = (measure_title(one["measure"]), float(one["threshold"]))
    if one["false_support"] is not None:
        yield (*head, "without a link", "false support", *_cells(one["false_support"]))
    for row in one["missed"]:
        dose = f"{number(100 * row['dose'], 3)} % imitation"
        yield (*head, dose, "missed", *_cells(row))


def _cells(rate: dict[str, Any]) -> tuple[Cell, ...]:
    low, high = rate["interval"]
    shares = tuple(float(value) for value in (rate["value"], low, high))
    return (f"{rate['count']} of {rate['families']}", *shares)


def robustness_part(findings: Findings) -> Part:
    """Return what would have been seen, what was varied and what was not."""
    return Part(
        key="robustness",
        title="Robustness and power",
        facts=tuple(_facts(findings)),
        grids=(_readings(findings),),
        closing=(
            "Not varied in this case: sentence encoder, decoding, number type, day of collection. "
            "Another audit with one of them changed, and auditor diff, shows what depends on it.",
        ),
    )


def _facts(findings: Findings) -> Iterator[tuple[str, str]]:
    conclusion, plan = findings.conclusion, findings.plan
    power = conclusion["power"]
    yield "Power", power["sentence"] if power else "not known: no graded controls fit this case"
    repeats = plan["repeats"]
    yield (
        "Noise floor",
        f"each probe was asked {repeats} times; the records hold every reply"
        if repeats > 1
        else "not measured: each probe was asked once, so how far a model agrees with itself is "
        "not known; --repeats 2 or more shows it",
    )
    categories = conclusion["scope"]["categories"]
    if categories and categories["heterogeneity_p"] is not None:
        p = number(categories["heterogeneity_p"], 2)
        yield "Across probe categories", f"p {p} that all categories show the same"
    undefined = sum(row.value is None for row in findings.rows)
    yield "Measures", f"{len(findings.rows)} computed, {undefined} of them undefined with a reason"
    yield "Models tried", _tried(findings)


def _tried(findings: Findings) -> str:
    failed: dict[str, list[str]] = {}
    for row in failed_rows(findings.case):
        failed.setdefault(failure_words(row["spec"]), []).append(row["name"])
    roles = [subject["role"] for subject in plan_subjects(findings)]
    tried_not = sum(map(len, failed.values()))
    suspects = counted(roles.count("suspect") - tried_not, "suspect")
    tried = f"{suspects} and 1 reference, all of them listed below"
    for words, names in failed.items():
        tried += f"; {', '.join(names)} {words}"
    return f"{tried}; others are not in this case"


def plan_subjects(findings: Findings) -> list[dict[str, Any]]:
    """Return the subjects of the plan."""
    found: list[dict[str, Any]] = findings.plan["subjects"]
    return found


def _readings(findings: Findings) -> Grid:
    judged = findings.case.kept_json("conclusion.json")["suspects"]
    return Grid(
        caption="Every suspect of this case, also those without a finding",
        columns=("Suspect", "Reading", "Basis"),
        rows=tuple((name, one["reading"], one["basis"]) for name, one in judged.items()),
    )
