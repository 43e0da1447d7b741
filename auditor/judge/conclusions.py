"""The conclusion on every suspect of a case: reading, likelihood ratios, scope, dose and power."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from auditor.case import Case
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
from auditor.judge.evidence import IDIOSYNCRASY, SAMPLE, gather
from auditor.judge.findings import RULES, Decisive, Evidence
from auditor.judge.fuse import PairResult
from auditor.judge.null import predictive_p
from auditor.judge.population import CaseFacts
from auditor.judge.power import z_threshold
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
    judged = {}
    for name, evidence in gather(case).items():
        found = _judged(case, name, evidence, _chosen(case, name, evidence))
        judged[name] = {**found, "limits": [*found["limits"], *_server_limits(case, name)]}
    return {"schema": "auditor/conclusion/1", "rules": RULES, "suspects": judged}


def _server_limits(case: Case, suspect: str) -> list[str]:
    """Return what the servers of a case forbid to conclude on a suspect, out of subjects.json."""
    return [
        sentence
        for subject in case.read_json("subjects.json")["subjects"]
        if subject["role"] != "suspect" or subject["name"] == suspect
        for sentence in subject.get("server", {}).get("limits", ())
    ]


def _chosen(case: Case, suspect: str, evidence: Evidence) -> Chosen:
    """Return the calibration that fits; once used, the case's own copy is the only candidate."""
    refs = read_refs(case)
    plan = case.read_json("plan.json")
    statistics = case.read_json("statistics.json")["suspects"][suspect]
    facts = CaseFacts(
        reference=refs[plan["subjects"][0]["name"]],
        suspect=refs[suspect],
        null_families=evidence.families,
        suites=tuple(f"{suite['name']}@{suite['version']}" for suite in plan["suites"]),
        measures=tuple(row["measure"] for row in statistics if row["value"] is not None),
    )
    kept = case.data / FILE
    candidates: Sequence[Calibration] = (
        (calibration_from_json(case.read_json(FILE)),) if kept.is_file() else shipped_calibrations()
    )
    chosen = choose(candidates, facts)
    if chosen.calibration is not None and not kept.is_file():
        case.write_json(FILE, chosen.calibration.as_json())
    return chosen


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
    parts = case.read_json("statistics.json").get("scope", {}).get(suspect, {})
    found = _Findings(
        weighed=weighed,
        categories=scope([_category(part) for part in parts.get("categories", ())]),
        layers=scope([_layer(part) for part in parts.get("layers", ())]),
    )
    conclusion = _weighted(conclude(replace(evidence, seen_dose=seen)), found, evidence)
    return {**conclusion.as_json(), **_around(found)}


def scores_of(evidence: Evidence) -> dict[str, float | None]:
    """Return the group scores of a suspect, as the fusions take them.

    ``replication`` -log10 of the raw p of neuron matching, >= 0; ``span``, ``sample`` and
    ``idiosyncrasy`` z among the control families.
    """
    z = {test.name: test.place.z for test in evidence.imitation}
    return {
        "replication": evidence.neuron_score,
        "span": None if evidence.span is None else evidence.span.z,
        "sample": z.get(SAMPLE),
        "idiosyncrasy": z.get(IDIOSYNCRASY),
    }


def thresholds_of(evidence: Evidence) -> dict[str, float]:
    """Return, for each decisive test, the z above which it reads imitation on its own.

    Its predictive p must be under alpha after correction for the tests, and z over that of every
    control family.
    """
    enough = evidence.thresholds.fewest_families
    tests = [test for test in evidence.imitation if test.place.families >= enough]
    alpha = evidence.thresholds.imitation_alpha / max(len(tests), 1)
    return {test.name: _threshold(test, alpha) for test in tests}


def _threshold(test: Decisive, alpha: float) -> float:
    limit = z_threshold(alpha, test.place.families)
    return limit if test.closest_z is None else max(limit, test.closest_z)


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
    """Return the objects of a conclusion beside the contract's: scope, power and dose."""
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
