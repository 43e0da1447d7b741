"""What stands behind a conclusion: the scores that enter it, their thresholds, how firm it is."""

from collections.abc import Mapping
from typing import Any

from auditor.case import Case
from auditor.judge.calibration import Calibration
from auditor.judge.evidence import IDIOSYNCRASY, SAMPLE, subjects_of
from auditor.judge.findings import Decisive, Evidence
from auditor.judge.held_out import validation_json
from auditor.judge.power import z_threshold
from auditor.judge.robustness import Examined, robustness_json
from auditor.judge.support import dose_response_json, pattern_name, support_json


def details(
    case: Case, gathered: Mapping[str, Evidence], chosen: Mapping[str, Calibration | None]
) -> dict[str, Any]:
    """Return what stands behind the conclusions: lines, doses, robustness, validation."""
    support: dict[str, Any] = {}
    doses: dict[str, Any] = {}
    used: dict[str, dict[str, Any]] = {}
    for name, evidence in gathered.items():
        calibration = chosen[name]
        support[name], doses[name] = None, []
        if calibration is None:
            continue
        scores, limits = scores_of(evidence), thresholds_of(evidence)
        support[name] = support_json(calibration, scores)
        doses[name] = dose_response_json(calibration, scores, limits, evidence.architecture)
        used |= _validated(calibration, support[name]["pattern"])
    return {
        "support": support,
        "doses": doses,
        "robustness": {
            name: robustness_json(_examined(case, name, evidence, chosen[name]))
            for name, evidence in gathered.items()
        },
        "validation": used,
    }


def _validated(calibration: Calibration, pattern: str | None) -> dict[str, dict[str, Any]]:
    """Return the validation of the fusion that was used, by pattern; empty where none is kept."""
    for fusion in calibration.fusions:
        if pattern_name(fusion) == pattern and fusion.folds:
            return {pattern_name(fusion): validation_json(fusion, calibration.controls)}
    return {}


def _examined(
    case: Case, name: str, evidence: Evidence, calibration: Calibration | None
) -> Examined:
    statistics = case.kept_json("statistics.json")
    less = statistics.get("without", {})
    return Examined(
        suspect=name,
        subjects=subjects_of(case),
        rows={row["measure"].partition("@")[0]: row for row in statistics["suspects"][name]},
        without={measure.partition("@")[0]: found for measure, found in less.items()},
        scores=scores_of(evidence),
        calibration=calibration,
    )


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
