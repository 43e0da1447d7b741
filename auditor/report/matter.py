"""Who asked whom for what, and the propositions that the findings are weighed by."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from auditor.canon import json_digest
from auditor.report.findings import Findings
from auditor.report.parts import NOT_STATED, Grid, Part, listed
from auditor.report.words import counted

PROPOSITIONS = (
    (
        "independent",
        "H_I",
        "{suspect} was not trained on outputs, probabilities or weights of {reference}, beyond "
        "what is found incidentally in public data.",
    ),
    (
        "imitation",
        "H_M",
        "A material part of the training of {suspect} used outputs or probabilities of "
        "{reference}, or of a model that itself imitates it; its weights do not derive from it.",
    ),
    (
        "replication",
        "H_R",
        "The weights of {suspect} derive from those of {reference}: copied, fine-tuned, pruned, "
        "quantised, merged or grafted.",
    ),
)
_WEIGHED = (
    "The findings are weighed between these three, in pairs. They say nothing on permission, "
    "intent or law, and by themselves nothing on who came first."
)


def matter_part(plan: dict[str, Any]) -> Part:
    """Return who asked for the examination, as the plan states it."""
    stated = _stated(plan)
    matter = stated.get("matter") or {}
    parties = [f"{party['name']} ({party['role']})" for party in matter.get("parties", ())]
    return Part(
        key="matter",
        title="Matter and instructions",
        facts=(
            ("File number", matter.get("number") or NOT_STATED),
            ("Parties", listed(parties, NOT_STATED)),
            ("Examiner", matter.get("examiner") or NOT_STATED),
            ("Instructed by", matter.get("instructed_by") or NOT_STATED),
            ("Instructions received", matter.get("instructions") or NOT_STATED),
            ("Question put", stated.get("question") or NOT_STATED),
            ("Case, as digest of its plan", json_digest(plan)),
        ),
        closing=()
        if matter
        else ("The key “matter” in the plan of an audit is where this is stated.",),
    )


def propositions_part(findings: Findings) -> Part:
    """Return the three propositions, in general and as the plan states them, and the population."""
    names = {"suspect": findings.suspect.name, "reference": findings.reference.name}
    stated = _stated(findings.plan)
    own = {one["name"]: one["statement"] for one in stated.get("hypotheses", ())}
    return Part(
        key="propositions",
        title="Propositions and population",
        paragraphs=(_WEIGHED,),
        grids=(
            Grid(
                caption="The propositions",
                columns=("Proposition", "In general", "As stated for this case"),
                rows=tuple(
                    (f"{sign} {word}", text.format(**names), own.get(word, NOT_STATED))
                    for word, sign, text in PROPOSITIONS
                ),
            ),
        ),
        facts=(
            ("Population, as stated", _population(stated)),
            ("Control families", families_by_role(findings)),
            ("Calibrated population", calibrated_population(findings)),
        ),
    )


def _stated(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the plan as declared; empty where nothing was."""
    found: dict[str, Any] = plan.get("declared", {}).get("plan", {})
    return found


def _population(stated: dict[str, Any]) -> str:
    population = stated.get("population")
    return population["description"] if population else NOT_STATED


def families_by_role(findings: Findings) -> str:
    """Return the number of control families of each role, in words."""
    pairs = {(control.role, control.family) for control in findings.controls}
    counts: Counter[str] = Counter(role for role, _ in pairs)
    return listed([f"{count} {role}" for role, count in sorted(counts.items())])


def calibrated_population(findings: Findings) -> str:
    """Return which population likelihood ratios were calibrated on, or that there was none."""
    if (
        not (findings.case.data / "calibration.json").is_file()
        or not findings.conclusion["log10_lr"]
    ):
        return "none: no likelihood ratio is stated"
    population = findings.case.read_json("calibration.json")["population"]
    said = [f"pack {population['name']}"]
    if population["parameters"] is not None:
        low, high = population["parameters"]
        said.append(f"models of {low:,} to {high:,} parameters")
    if population["architectures"] is not None:
        said.append(f"architectures {listed(population['architectures'])}")
    return "; ".join(said)


def families_of(findings: Findings, *roles: str) -> str:
    """Return how many control families there are of some roles, in words."""
    own: Sequence[str] = [c.family for c in findings.controls if c.role in roles]
    return counted(len(set(own)), "control family", "control families")
