"""The conclusion on every suspect of a case: reading, likelihood ratios, scope, dose and power."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from auditor.case import Case
from auditor.judge.access_power import shipped_power
from auditor.judge.calibration import (
    FILE,
    Calibration,
    Chosen,
    Weighed,
    calibration_from_json,
    choose,
    shipped_calibrations,
    weigh,
)
from auditor.judge.details import details, scores_of, thresholds_of
from auditor.judge.evidence import gather
from auditor.judge.findings import RULES, Evidence
from auditor.judge.fuse import PairResult
from auditor.judge.null import predictive_p
from auditor.judge.population import CaseFacts
from auditor.judge.reading import conclude
from auditor.judge.scope import Part, Scope, scope
from auditor.judge.scores import Pair
from auditor.judge.words import Names, Weight, load_scale, sentence
from auditor.stored import read_refs
from auditor.types import Conclusion

_PAIR_OF: Mapping[str, Pair] = {
    "imitation": "imitation:independent",
    "replication": "replication:independent",
    "no-link": "imitation:independent",
    "inconclusive": "imitation:independent",
}
"""The question whose likelihood ratio is put into words, by reading."""


def judge(case: Case) -> dict[str, Any]:
    """Return the content of conclusion.json; the calibration that was used is put into the case.

    Raises:
        CaseError: the case was not measured.
    """
    kept = case_calibration(case)
    found = conclusions(case, shipped_calibrations() if kept is None else (kept,))
    if found.calibration is not None and kept is None:
        case.write_json(FILE, found.calibration.as_json())
    return {
        "schema": "auditor/conclusion/1",
        "rules": RULES,
        "suspects": found.suspects,
        **details(case, found.gathered, found.chosen),
        "access": shipped_power(),
    }


def case_calibration(case: Case) -> Calibration | None:
    """Return the calibration that a case was judged with; None where none was used.

    Raises:
        InputError: it is malformed.
    """
    kept = (case.data / FILE).is_file()
    return calibration_from_json(case.read_json(FILE)) if kept else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusions:
    """The conclusion on every suspect of a case."""

    suspects: dict[str, dict[str, Any]]
    calibration: Calibration | None
    """The one that was used."""
    gathered: Mapping[str, Evidence]
    chosen: Mapping[str, Calibration | None]
    """By suspect: the one that was used where it fits."""


def conclusions(case: Case, candidates: Sequence[Calibration]) -> Conclusions:
    """Return what the statistics of a case give; nothing is written.

    Args:
        case: measured.
        candidates: calibrations; once one fits a suspect, no other is used in the case.

    Raises:
        CaseError: the case was not measured.
    """
    used: Calibration | None = None
    judged, by_suspect, gathered = {}, {}, gather(case)
    for name, evidence in gathered.items():
        chosen = choose(candidates, _facts(case, name, evidence))
        by_suspect[name] = chosen.calibration
        if chosen.calibration is not None:
            used = chosen.calibration
            candidates = (used,)
        found = _judged(case, name, evidence, chosen)
        judged[name] = {**found, "limits": [*found["limits"], *_server_limits(case, name)]}
    return Conclusions(suspects=judged, calibration=used, gathered=gathered, chosen=by_suspect)


def _server_limits(case: Case, suspect: str) -> list[str]:
    """Return what the servers of a case forbid to conclude on a suspect, out of subjects.json."""
    return [
        sentence
        for subject in case.kept_json("subjects.json")["subjects"]
        if subject["role"] != "suspect" or subject["name"] == suspect
        for sentence in subject.get("server", {}).get("limits", ())
    ]


def _facts(case: Case, suspect: str, evidence: Evidence) -> CaseFacts:
    refs = read_refs(case)
    plan = case.kept_json("plan.json")
    statistics = case.kept_json("statistics.json")["suspects"][suspect]
    return CaseFacts(
        reference=refs[plan["subjects"][0]["name"]],
        suspect=refs[suspect],
        null_families=evidence.families,
        suites=tuple(f"{suite['name']}@{suite['version']}" for suite in plan["suites"]),
        measures=tuple(row["measure"] for row in statistics if row["value"] is not None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Findings:
    """What surrounds the reading of one suspect."""

    weighed: Weighed
    categories: Scope
    layers: Scope


def _judged(case: Case, suspect: str, evidence: Evidence, chosen: Chosen) -> dict[str, Any]:
    weighed = Weighed(reasons=chosen.reasons)
    if chosen.calibration is not None:
        weighed = weigh(
            chosen.calibration,
            scores_of(evidence),
            thresholds_of(evidence),
            evidence.architecture,
        )
    seen = None if weighed.seen is None else weighed.seen.dose
    parts = case.kept_json("statistics.json").get("scope", {}).get(suspect, {})
    found = _Findings(
        weighed=weighed,
        categories=scope([_category(part) for part in parts.get("categories", ())]),
        layers=scope([_layer(part) for part in parts.get("layers", ())]),
    )
    conclusion = _weighted(conclude(replace(evidence, seen_dose=seen)), found, evidence)
    return {**conclusion.as_json(), **_around(found)}


def _category(part: dict[str, Any]) -> Part:
    return Part(
        name=part["name"],
        p=predictive_p(part["value"], part["pool"], "higher"),
        reason=None if len(part["pool"]) > 2 else "fewer than 3 controls",
    )


def _layer(part: dict[str, Any]) -> Part:
    return Part(name=str(part["layer"]), p=float(10.0 ** part["log10_p"]))


def _weighted(conclusion: Conclusion, found: _Findings, evidence: Evidence) -> Conclusion:
    """Add the likelihood ratios, in numbers and words, or why there are none."""
    fused = found.weighed.fused
    if fused is None:
        reasons = tuple(f"No likelihood ratio: {reason}." for reason in found.weighed.reasons)
        return replace(conclusion, limits=(*conclusion.limits, *reasons))
    pair = _PAIR_OF[conclusion.reading]
    result: PairResult | None = fused.pairs.get(pair)
    if result is None:
        return replace(conclusion, log10_lr=fused.log10_lr)
    weight = Weight(
        pair=pair, log10_lr=result.log10_lr, interval=result.interval, bounds=result.bounds
    )
    extrapolated = (
        ()
        if not fused.extrapolated
        else (f"Beyond all controls in: {', '.join(fused.extrapolated)}.",)
    )
    return replace(
        conclusion,
        log10_lr=fused.log10_lr,
        interval=result.interval,
        verbal=sentence(
            weight, load_scale(), Names(suspect="the suspect", reference="the reference")
        ),
        limits=(*conclusion.limits, *extrapolated),
    )


def _around(found: _Findings) -> dict[str, Any]:
    """Return what a conclusion has beside the contract's: scope, power, dose, error rates."""
    seen, dose = found.weighed.seen, found.weighed.dose
    return {
        "scope": {"categories": _scope(found.categories), "layers": _scope(found.layers)},
        "power": None
        if seen is None
        else {
            "dose": seen.dose,
            "interval": list(seen.interval),
            "power": seen.power,
            "sentence": seen.sentence,
        },
        "dose": None
        if dose is None
        else {"dose": dose.dose, "interval": list(dose.interval), "limits": list(dose.limits)},
        "error_rates": list(found.weighed.error_rates),
    }


def _scope(found: Scope) -> dict[str, Any] | None:
    if not found.tested:
        return None
    return {
        "extent": found.extent,
        "sentence": found.sentence,
        "heterogeneity_p": found.heterogeneity_p,
        "parts": [
            {"name": p.name, "p": p.p, "adjusted": p.adjusted, "shows": p.shows, "reason": p.reason}
            for p in found.parts
        ],
    }
