"""Gather what the rules look at from the files of a measured case."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from auditor.case import Case
from auditor.failed import standing as standing_subjects
from auditor.judge.findings import RULES, Decisive, Evidence, Thresholds
from auditor.judge.multiplicity import holm
from auditor.judge.null import Standing, family_values, standing
from auditor.panel import NULL_ROLES

NEURONS, ORDER, REDERIVED = "neuron-matching", "neuron-order-weights", "rederived-share"
SAMPLE, IDIOSYNCRASY, SPAN = "sample-llr", "idiosyncratic-agreement", "unembedding-span"
DECISIVE = (SAMPLE, IDIOSYNCRASY)
FEWEST_MATCHED = 6
"""Control families of the suspect's architecture that make a null of their own."""
_COPY_NEEDS = ("different widths", "different MLPs")
"""Starts of the reasons that say that one model's layers cannot be the other's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Who is who in a case."""

    suspects: tuple[str, ...]
    controls: tuple[dict[str, Any], ...]
    """All controls in the order of the plan, with ``architecture``."""
    architectures: dict[str, str | None]

    @property
    def null(self) -> tuple[bool, ...]:
        """Which of the controls have no link to the reference."""
        return tuple(control["role"] in NULL_ROLES for control in self.controls)

    @property
    def families(self) -> dict[str, str | None]:
        """Architecture of each control family without a link (that of its first member)."""
        found: dict[str, str | None] = {}
        for control in self.controls:
            if control["role"] in NULL_ROLES:
                found.setdefault(control["family"], self.architectures[control["name"]])
        return found

    def alike(self, suspect: str) -> int:
        """Return how many families cover the suspect's architecture; see `Evidence.alike`."""
        counts = Counter(found for found in self.families.values() if found is not None)
        own = self.architectures[suspect]
        if own is not None:
            return counts[own]
        ranked = [count for _, count in counts.most_common(2)]
        return ranked[1] if len(ranked) == 2 else 0


def subjects_of(case: Case) -> Subjects:
    """Return who is who, from the plan and subjects.json."""
    planned = standing_subjects(case)
    refs = {s["name"]: s["ref"] for s in case.kept_json("subjects.json")["subjects"]}
    return Subjects(
        suspects=tuple(s["name"] for s in planned if s["role"] == "suspect"),
        controls=tuple(s for s in planned if s["role"] not in ("reference", "suspect")),
        architectures={name: ref["architecture"] for name, ref in refs.items()},
    )


def placed(row: dict[str, Any], suspect: str, subjects: Subjects) -> Standing | None:
    """Return the place of a measurement among the control families without a link.

    Where at least `FEWEST_MATCHED` of them have the suspect's architecture, only these count:
    another architecture moves most statistics, and would widen or shift the null.
    """
    if row["value"] is None:
        return None
    return standing(row["value"], null_values(row, suspect, subjects), row["closer"])


def null_values(row: dict[str, Any], suspect: str, subjects: Subjects) -> list[float]:
    """Return one value for each control family that a suspect is placed among."""
    return _by_family(row, null_controls(row, suspect, subjects), subjects)


def null_controls(row: dict[str, Any], suspect: str, subjects: Subjects) -> list[int]:
    """Return the places, among the controls, of those that a suspect is placed among."""
    null = [i for i, counts in enumerate(subjects.null) if counts]
    own = subjects.architectures[suspect]
    matched = [i for i in null if subjects.architectures[subjects.controls[i]["name"]] == own]
    enough = len(_by_family(row, matched, subjects)) >= FEWEST_MATCHED
    return matched if enough else null


def null_values_without(
    row: dict[str, Any], suspect: str, subjects: Subjects, family: str
) -> list[float]:
    """Return the same less one family; which controls are matched is decided with it."""
    chosen = null_controls(row, suspect, subjects)
    left = [i for i in chosen if subjects.controls[i]["family"] != family]
    return _by_family(row, left, subjects)


def _by_family(row: dict[str, Any], chosen: Sequence[int], subjects: Subjects) -> list[float]:
    values = [row["control_values"][i] for i in chosen]
    families = [subjects.controls[i]["family"] for i in chosen]
    return family_values(values, families, row["closer"])


def gather(case: Case) -> dict[str, Evidence]:
    """Return the evidence on every suspect, p-values adjusted for their number (Holm 1979).

    Raises:
        CaseError: the case was not measured.
    """
    alone = gather_alone(case)
    neurons = iter(holm([found.neuron_p for found in alone.values()]))
    tests = [test for found in alone.values() for test in found.imitation]
    adjusted = iter(holm([test.place.predictive_p for test in tests]))
    return {
        name: replace(
            found,
            neuron_p=next(neurons),
            imitation=tuple(replace(test, p=next(adjusted)) for test in found.imitation),
        )
        for name, found in alone.items()
    }


def gather_alone(case: Case) -> dict[str, Evidence]:
    """Return the evidence on every suspect as if it were the only one of the case.

    Raises:
        CaseError: the case was not measured.
    """
    subjects, thresholds = subjects_of(case), _thresholds(case)
    measured = case.kept_json("statistics.json")
    statistics, scopes = measured["suspects"], measured.get("scope", {})
    return {
        name: replace(
            evidence_alone(name, statistics[name], subjects, thresholds),
            agreed=_agreed(scopes.get(name, {})),
        )
        for name in subjects.suspects
    }


def _agreed(scope: dict[str, Any]) -> float | None:
    """Return the largest share of neurons with one partner by both features, over the layers."""
    return max((float(layer["agreed"]) for layer in scope.get("layers", ())), default=None)


def evidence_alone(
    name: str,
    measured: Sequence[dict[str, Any]],
    subjects: Subjects,
    thresholds: Thresholds,
) -> Evidence:
    """Return what the rules look at of one suspect, as if it were the only one.

    Args:
        name: of the suspect.
        measured: its rows of statistics.json, or rows that say the same of a pair.
        subjects: who is who.
        thresholds: of the rules.
    """
    rows = {_stem(row): row for row in measured}
    places = _places(rows, name, subjects)
    neurons = rows.get(NEURONS)
    return Evidence(
        thresholds=thresholds,
        families=len(subjects.families),
        architecture=subjects.architectures[name],
        alike=subjects.alike(name),
        rederived=_rederived(rows.get(REDERIVED)),
        neuron_p=_probability(neurons),
        ancestor=_ancestor(neurons, subjects, thresholds),
        copy_excluded=_copy_excluded(neurons),
        imitation=_decisive(rows, name, subjects),
        neuron_score=_score(neurons),
        span=places.get(SPAN),
        span_excess=_excess(rows.get(SPAN), name, subjects),
        screening=tuple(places.values()),
    )


def _decisive(
    rows: dict[str, dict[str, Any]], suspect: str, subjects: Subjects
) -> tuple[Decisive, ...]:
    """Return the decisive tests that are defined, p adjusted as for a suspect alone."""
    found = []
    for name in DECISIVE:
        place = placed(rows[name], suspect, subjects) if name in rows else None
        if place is not None:
            values = null_values(rows[name], suspect, subjects)
            closest = standing(max(values), values, "higher").z if values else None
            found.append(Decisive(name=name, place=place, p=None, closest_z=closest))
    adjusted = holm([test.place.predictive_p for test in found])
    return tuple(replace(test, p=p) for test, p in zip(found, adjusted, strict=True))


def _excess(row: dict[str, Any] | None, suspect: str, subjects: Subjects) -> float | None:
    if row is None or row["value"] is None or subjects.alike(suspect) < FEWEST_MATCHED:
        return None
    closest = max(null_values(row, suspect, subjects), default=1.0)
    return None if closest >= 1.0 else float((row["value"] - closest) / (1.0 - closest))


def _thresholds(case: Case) -> Thresholds:
    planned = dict(case.read_json("plan.json").get("rules") or {})
    if planned.pop("rules", RULES) in ("reading/1", "reading/2"):
        planned["supporting_p"] = 1.0  # rules before the third asked for one test alone
    return Thresholds(**planned)


def _stem(row: dict[str, Any]) -> str:
    return str(row["measure"].partition("@")[0])


def _places(
    rows: dict[str, dict[str, Any]], suspect: str, subjects: Subjects
) -> dict[str, Standing]:
    found = {name: placed(row, suspect, subjects) for name, row in rows.items()}
    return {name: place for name, place in found.items() if place is not None}


def _probability(row: dict[str, Any] | None) -> float | None:
    """Return the p-value of a measure that gives its base-10 logarithm."""
    return None if row is None or row["value"] is None else float(10.0 ** row["value"])


def _score(row: dict[str, Any] | None) -> float | None:
    return None if row is None or row["value"] is None else -float(row["value"])


def _rederived(row: dict[str, Any] | None) -> tuple[str, float] | None:
    if row is None or row["value"] is None:
        return None
    return "a transform of the reference", float(row["value"])


def _ancestor(row: dict[str, Any] | None, subjects: Subjects, thresholds: Thresholds) -> str | None:
    """Return a control without a link whose neurons match the reference's all the same."""
    if row is None or row["value"] is None:
        return None
    matched = [
        control["name"]
        for control, null, value in zip(
            subjects.controls, subjects.null, row["control_values"], strict=True
        )
        # Bonferroni over the controls: one of many may match by chance.
        if null and _significant(value, thresholds.replication_alpha, len(subjects.controls))
    ]
    return matched[0] if matched else None


def _significant(value: float | None, alpha: float, tests: int) -> bool:
    return value is not None and 10.0**value * tests < alpha


def _copy_excluded(row: dict[str, Any] | None) -> str | None:
    """Return why two models of known weights cannot share layers; None where they could."""
    reasons: Sequence[str] = (row["undefined"] or "",) if row is not None else ()
    for reason in reasons:
        if any(start in reason for start in _COPY_NEEDS):
            return reason
    return None
