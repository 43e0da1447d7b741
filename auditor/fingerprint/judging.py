"""The reading of a comparison of fingerprints: the rules of an audit on what sketches give.

Two of an audit's findings can be had from fingerprints: whether tensors are equal bit for bit, and
idiosyncratic agreement. The rules are those of `auditor.judge.reading`; beside them a reading needs
an error rate that was measured on sketches (``reports/benchmarks/fingerprint.json``).
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from auditor.data import data_dir
from auditor.judge.evidence import Subjects, evidence_alone
from auditor.judge.findings import Evidence, Thresholds
from auditor.judge.reading import conclude
from auditor.types import Conclusion

if TYPE_CHECKING:
    from auditor.fingerprint.pairs import Member

RATES = "fingerprint.json"
MOST_FALSE = 0.05
"""Upper 95 % limit of the share of unlinked families that get a reading, up to which it is given:
60 to 70 families without an error, about what an audit's own readings were tested on."""


def subjects_among(suspect: "Member", controls: Sequence["Member"]) -> Subjects:
    """Return who is who in a comparison; every control is a family of its own."""
    members = (suspect, *controls)
    return Subjects(
        suspects=(suspect.label,),
        controls=tuple(
            {"name": one.label, "role": one.role, "family": one.family} for one in controls
        ),
        architectures={one.label: one.file.subject["architecture"] for one in members},
    )


def sketched_evidence(rows: Sequence[dict[str, Any]], subjects: Subjects) -> Evidence:
    """Return what the rules look at, from the measurements of a comparison."""
    return evidence_alone(subjects.suspects[0], rows, subjects, Thresholds())


@cache
def measured_rates() -> dict[str, Any]:
    """Return the error rates that were measured on sketches: ``auditor/fingerprint-rates/1``."""
    path = data_dir("reports") / "benchmarks" / RATES
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def judged(evidence: Evidence, rates: dict[str, Any]) -> Conclusion:
    """Return the conclusion by the rules, as far as its error rate was measured to be small."""
    found = conclude(evidence)
    limits = (*found.limits, *_sentences(rates))
    rate = rates["readings"].get(found.reading)
    if found.reading == "inconclusive" or (rate and rate["interval"][1] <= MOST_FALSE):
        return replace(found, limits=limits)
    why = "was not measured" if rate is None else f"may be {rate['interval'][1]:.1%}"
    return Conclusion(
        reading="inconclusive",
        basis=f"{found.basis}; the share of unlinked families that get this reading from "
        f"sketches {why}",
        cap=f"error rates of sketches: at most {MOST_FALSE:.0%} is asked",
        limits=limits,
    )


def doubted(found: Conclusion, doubts: Sequence[str]) -> Conclusion:
    """Return a conclusion that is `inconclusive` where there are doubts of the files."""
    limits = (*found.limits, *(f"Equal tensors are not read as a copy: {why}." for why in doubts))
    if found.reading == "inconclusive" or not doubts:
        return replace(found, limits=limits)
    return Conclusion(
        reading="inconclusive",
        basis=f"{found.basis}; but {doubts[0]}",
        cap="one file may have been made out of the other",
        limits=limits,
    )


def _sentences(rates: dict[str, Any]) -> list[str]:
    """Return what was measured of each test, in words."""
    return [
        f"{test['name']} on sketches, measured on {rates['population']}: it errs in "
        f"{_words(test['false'])} unlinked families; it sees "
        + ", ".join(f"{_words(kind)} families of {kind['kind']}" for kind in test["seen"])
        + "."
        for test in rates["tests"]
    ]


def _words(rate: dict[str, Any]) -> str:
    low, high = rate["interval"]
    return f"{rate['count']} of {rate['families']} (95 %: {low:.1%} to {high:.1%})"
