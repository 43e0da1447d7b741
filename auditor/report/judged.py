"""The figures of what was judged, each drawn or replaced by a sentence: what is missing."""

from dataclasses import dataclass
from typing import Any

from auditor.report.class_chart import class_plate
from auditor.report.correlation_map import correlation_plate
from auditor.report.dose_chart import dose_plate
from auditor.report.findings import Findings
from auditor.report.forest import forest_plate
from auditor.report.plates import Plate
from auditor.report.scope_map import scope_plate
from auditor.report.timeline import custody_spans, timeline_plate
from auditor.report.tornado import tornado_plate
from auditor.report.validation_charts import validation_plates

_NO_RATIO = "No likelihood ratio: "
_GET = (
    "Audit beside controls of a population that holds the case, for instance those of the shipped "
    "pack (auditor controls list), or make such a population: auditor controls build."
)
_MORE_CONTROLS = "Add control models that are known to be independent of the reference: --control."
_AGAIN = "Judge the case again with this release: auditor measure, then auditor judge."
_BY = {"category": "By probe category", "layer": "By layer"}
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureSection:
    """One section of figures."""

    key: str
    title: str
    lead: str
    plates: tuple[Plate, ...]
    missing: str | None = None
    """What is not drawn, why, and how to get it."""


def judged_parts(findings: Findings) -> list[FigureSection]:
    """Return the sections, in the order of the report; a section without data says so."""
    return [
        _weight(findings),
        _dependence(findings),
        _scope(findings),
        _validation(findings),
        _dose(findings),
        _robustness(findings),
    ]


def _details(findings: Findings, key: str) -> Any:
    """Return what conclusion.json keeps beside the conclusion on the suspect; None: nothing."""
    content = findings.judged.get(key)
    return None if content is None else content.get(findings.suspect.name)


def _why_no_ratio(findings: Findings) -> str:
    if "support" not in findings.judged:
        return f"the case was judged by an earlier release. {_AGAIN}"
    reasons = [
        text.removeprefix(_NO_RATIO).rstrip(".")
        for text in findings.conclusion["limits"]
        if text.startswith(_NO_RATIO)
    ]
    return f"{'; '.join(reasons) or 'no calibrated population was used'}. {_GET}"


def _weight(findings: Findings) -> FigureSection:
    support = _details(findings, "support")
    ratios = support is not None and any(line["pairs"] for line in support["lines"])
    used = _pattern(findings)
    strips = (
        ()
        if used is None or not used.get("scores")
        else (class_plate(used, support["scores"], _kept(findings).get("controls", [])),)
    )
    return FigureSection(
        key="weight",
        title="Weight of the findings",
        lead="A likelihood ratio says how much more probable the findings are if the first of two "
        "propositions holds than if the second does. It is not the probability of either.",
        plates=(forest_plate(support), *strips) if ratios else (),
        missing=None if ratios else f"No likelihood ratios to draw: {_why_no_ratio(findings)}",
    )


def _pattern(findings: Findings) -> Row | None:
    """Return the validation of the fusion that was used."""
    support = _details(findings, "support")
    if support is None or support["pattern"] is None:
        return None
    found: Row | None = findings.judged.get("validation", {}).get(support["pattern"])
    return found


def _why_no_validation(findings: Findings) -> str:
    support = _details(findings, "support")
    if support is None or support["pattern"] is None:
        return _why_no_ratio(findings)
    return (
        "the calibration in this case keeps no scores of its controls. Judge the case anew with a "
        "pack of this release."
    )


def _dependence(findings: Findings) -> FigureSection:
    found = _pattern(findings)
    plate = None if found is None else correlation_plate(found["dependence"])
    reason = _why_no_validation(findings)
    if found is not None:
        reason = (
            "only one line of evidence is defined for this suspect, so there is nothing to go "
            "together. More access (probabilities, weights) gives more lines."
        )
    return FigureSection(
        key="dependence",
        title="How far the lines depend on each other",
        lead="",
        plates=() if plate is None else (plate,),
        missing=None if plate else f"No correlations to draw: {reason}",
    )


def _scope(findings: Findings) -> FigureSection:
    scope = findings.conclusion.get("scope") or {}
    found = [
        (scope[key], kind)
        for key, kind in (("categories", "category"), ("layers", "layer"))
        if scope.get(key)
    ]
    return FigureSection(
        key="scope",
        title="Where a link shows",
        lead=" ".join(f"{_BY[kind]}: {part['sentence']}" for part, kind in found),
        plates=tuple(scope_plate(part, kind) for part, kind in found),
        missing=None if found else f"No map to draw: {_why_no_scope(findings)}",
    )


def _why_no_scope(findings: Findings) -> str:
    return (
        "by category it needs the suspect's own samples scored by the reference and by 3 controls "
        "or more, by layer the weights of both models. "
        + (_MORE_CONTROLS if not findings.controls else "Ask for more access to the models.")
    )


def _validation(findings: Findings) -> FigureSection:
    found = _pattern(findings)
    return FigureSection(
        key="trust",
        title="How far the ratios can be trusted",
        lead=""
        if found is None
        else "The same fusion, tried on controls whose answer is known, each weighed without its "
        "own family.",
        plates=() if found is None else tuple(validation_plates(found)),
        missing=None
        if found
        else f"No Tippett, cost or PAV plots to draw: {_why_no_validation(findings)}",
    )


def _kept(findings: Findings) -> Row:
    """Return the calibration in the case; empty where none was used."""
    if not (findings.case.data / "calibration.json").is_file():
        return {}
    found: Row = findings.case.read_json("calibration.json")
    return found


def _dose(findings: Findings) -> FigureSection:
    doses = _details(findings, "doses") or []
    plate = dose_plate(doses, _kept(findings).get("doses", {}))
    reasons = "; ".join(dict.fromkeys(row["undefined"] for row in doses if row["undefined"]))
    why = f"{reasons}. {_GET}" if reasons else _why_no_ratio(findings)
    return FigureSection(
        key="dose",
        title="What share of imitation would score so",
        lead="",
        plates=() if plate is None else (plate,),
        missing=None if plate else f"No dose and response to draw: {why}",
    )


def _robustness(findings: Findings) -> FigureSection:
    found = _details(findings, "robustness")
    copy = findings.conclusion["reading"] == "replication"
    pair = "replication:independent" if copy else "imitation:independent"
    plate = None if found is None else tornado_plate(found, pair)
    why = f"no decisive test has a place among controls. {_MORE_CONTROLS}"
    return FigureSection(
        key="left-out",
        title="One thing left out",
        lead="Does the finding hang on one line, one control family or one kind of probe?",
        plates=() if plate is None else (plate,),
        missing=None if plate else f"No tornado to draw: {_AGAIN if found is None else why}",
    )


def course_section(findings: Findings) -> FigureSection:
    """Return the time line; apart, because only a sealed case has one and numbers must not move."""
    spans = custody_spans(findings.case)
    return FigureSection(
        key="course",
        title="Course of the case",
        lead="",
        plates=() if spans is None else (timeline_plate(spans),),
        missing=None
        if spans is not None
        else "No time line to draw: the case is not sealed, and its custody log still open. "
        "Seal it: auditor seal CASE.",
    )
