"""Run the measures on fingerprints: values, how much the projections matter, the reading."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from auditor.errors import InputError
from auditor.fingerprint.exchange import check_digests, doubts
from auditor.fingerprint.file import Fingerprint
from auditor.fingerprint.judging import (
    doubted,
    judged,
    measured_rates,
    sketched_evidence,
    subjects_among,
)
from auditor.fingerprint.pairs import Comparison, Member, labelled
from auditor.fingerprint.plan import GROUPS, probes_of
from auditor.judge.evidence import Subjects, placed
from auditor.measures._run import measure_pair
from auditor.progress import Progress, Silent
from auditor.types import Array, Conclusion, Measurement, Role

SCHEMA = "auditor/fingerprint-comparison/1"
SKETCHES = ("logit-js", "logit-hellinger", "hidden-cka", "hidden-mutual-knn")
"""Measures on projections: another draw of these gives another value."""
_BUCKETED = ("logit-top1", "idiosyncratic-agreement")
_LOSS = {
    **dict.fromkeys(SKETCHES, "projections"),
    **dict.fromkeys(_BUCKETED, "buckets"),
    "residual-correlation": "none",
    "rederived-share": "lower limit",
    "merge-share": "sketched weights",
}
_LIMITS = (
    "Nothing shows that a fingerprint was made of the model that it names: `auditor fingerprint "
    "check FILE SUBJECT` repeats it, by somebody whom both parties trust with the model.",
    "Each party learns about the other's model what log-probabilities of the likeliest tokens "
    "after the probes' words would tell; with a head like the other's, most of each distribution.",
    "Only what both models expect in the probes' own words is compared, no reply; a model that "
    "treats these public probes otherwise than other text can look as it likes.",
    "rederived-share counts whole tensors by their digests, merge-share the units in the order of "
    "the files: a copy with one changed number a tensor, or with its neurons in another order, "
    "shows in neither.",
)


def compare_fingerprints(
    suspect: Fingerprint,
    reference: Fingerprint,
    controls: Sequence[tuple[Role, Fingerprint]],
    progress: Progress,
    *,
    digests: Sequence[str] = (),
    suites: Sequence[str] = (),
    resamples: int = 1000,
) -> dict[str, Any]:
    """Return the comparison, as ``auditor/fingerprint-comparison/1`` describes it.

    Args:
        suspect: the fingerprint in question.
        reference: the one that it is compared with.
        controls: fingerprints of models of known relation, with their roles.
        progress: shows the subjects.
        digests: of suspect and reference, exchanged before the files; none where there were none:
            then nothing is read from equal tensors.
        suites: where the probes are that are not shipped.
        resamples: of each interval; 0 for none.

    Raises:
        InputError: they were made on different terms, or suspect or reference has none of
            `digests`.
    """
    check_digests((suspect, reference), digests)
    files = [reference, suspect, *(file for _, file in controls)]
    for file in files:
        _check_terms(reference, file)
    roles: list[Role] = ["reference", "suspect", *(role for role, _ in controls)]
    first, *others = labelled(list(zip(roles, files, strict=True)))
    probes = probes_of(reference.content["terms"], suites)
    case = Comparison(reference=first, others=tuple(others), probes=probes)
    rows = _rows(case, progress, resamples)
    return {
        "schema": SCHEMA,
        "terms": reference.content["terms"],
        "terms_digest": reference.content["terms_digest"],
        "reference": _described(first),
        "suspect": _described(case.suspect),
        "controls": [_described(member) for member in others[1:]],
        "committed": bool(digests),
        "measurements": rows,
        "conclusion": _conclusion(rows, case, digests).as_json(),
    }


def _conclusion(
    rows: Sequence[dict[str, Any]], case: Comparison, digests: Sequence[str]
) -> Conclusion:
    evidence = sketched_evidence(rows, subjects_among(case.suspect, case.controls))
    found = doubted(judged(evidence, measured_rates()), tuple(doubts(case, rows, digests)))
    precision = _precision(case.reference.file)
    return replace(found, limits=(*found.limits, precision, *_LIMITS))


def _check_terms(reference: Fingerprint, other: Fingerprint) -> None:
    ours, theirs = reference.content, other.content
    if ours["terms_digest"] == theirs["terms_digest"]:
        return
    differing = [key for key, value in ours["terms"].items() if theirs["terms"].get(key) != value]
    raise InputError(
        f"{reference.path} and {other.path} were made on different terms: {', '.join(differing)}",
        hint="both parties make theirs with the same --suite, --probes, --seed, --projections, "
        "--positions and --tensor-projections",
    )


def _precision(reference: Fingerprint) -> str:
    k = reference.content["terms"]["projections"]
    return (
        f"Sketched values are estimates: a squared distance from {k} projections has a relative "
        f"standard deviation of about {np.sqrt(2 / k):.1%}; `projection_error` is the jackknife's "
        "for each value."
    )


def _described(member: Member) -> dict[str, Any]:
    return {
        "name": member.label,
        "role": member.role,
        "file": member.file.path.name,
        "file_digest": member.file.digest,
        "access": "FINGERPRINT",
        **member.file.subject,
    }


def _rows(case: Comparison, progress: Progress, resamples: int) -> list[dict[str, Any]]:
    rows = measurements(case, resamples=resamples, progress=progress)
    names = [row["measure"].partition("@")[0] for row in rows]
    values = dict(zip(names, (row["value"] for row in rows), strict=True))
    errors = projection_errors(case, values)
    return [
        {
            **row,
            "inputs": [],
            "loss": None if row["value"] is None else _LOSS.get(name),
            "projection_error": None if row["value"] is None else errors.get(name),
        }
        for name, row in zip(names, rows, strict=True)
    ]


def measurements(
    case: Comparison,
    *,
    names: tuple[str, ...] | None = None,
    resamples: int = 0,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Return the measures on the suspect, each with its place among the controls.

    Args:
        case: the comparison.
        names: of the measures; None for all.
        resamples: of each interval; 0 for none.
        progress: shows the subjects.
    """
    seed = int(case.reference.file.content["terms"]["seed"])
    measured: dict[str, tuple[Measurement, ...]] = {}
    with (progress or Silent()).task("measure", len(case.others)) as task:
        for member in case.others:
            drawn = resamples if member.role == "suspect" else 0
            measured[member.label] = measure_pair(
                case.pair(member.label), seed=seed, resamples=drawn, names=names
            )
            task.advance()
    subjects = subjects_among(case.suspect, case.controls)
    rows = []
    for index, one in enumerate(measured[case.suspect.label]):
        values = tuple(measured[member.label][index].value for member in case.controls)
        row = replace(one, control_values=values).as_json()
        rows.append({**row, **_place(row, case.suspect.label, subjects)})
    return rows


def _place(row: dict[str, Any], suspect: str, subjects: Subjects) -> dict[str, float | None]:
    """Return where a value lies among the controls without a link, as an audit places it."""
    place = placed(row, suspect, subjects)
    names = ("z", "rank_p", "predictive_p")
    return {name: None if place is None else getattr(place, name) for name in names}


def projection_errors(case: Comparison, values: Mapping[str, float | None]) -> dict[str, float]:
    """Return how far the projections may have moved each sketched value: one standard error.

    Delete-a-group jackknife over GROUPS parts of the projections (Quenouille 1956, Tukey 1958),
    v_g the value without part g: the root of the variance (G - 1)/G sum of (v_g - mean)^2 and of
    the squared bias ((G - 1) (mean - v))^2. The probes stay as they are.

    Args:
        case: the comparison.
        values: of the suspect by name of the measure, with all projections.
    """
    found: dict[str, list[float]] = {}
    for group in range(GROUPS):
        pair = case.sketched(case.suspect.label, without=group)
        for one in measure_pair(pair, seed=0, resamples=0, names=SKETCHES):
            if one.value is not None:
                found.setdefault(one.measure.partition("@")[0], []).append(one.value)
    return {
        name: _jackknife(np.array(parts), whole)
        for name, parts in found.items()
        if (whole := values.get(name)) is not None
    }


def _jackknife(parts: Array, whole: float) -> float:
    count = len(parts)
    variance = (count - 1) / count * np.square(parts - parts.mean()).sum()
    bias = (count - 1) * (parts.mean() - whole)
    return float(np.sqrt(variance + bias**2))
