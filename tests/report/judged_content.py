"""What judge keeps beside a calibrated conclusion, made by judge from the shipped calibration."""

import functools
from typing import Any

from case_fixture import build_case

from auditor.case import Case
from auditor.data import data_dir
from auditor.judge.calibration import Calibration, read_calibration
from auditor.judge.evidence import Subjects
from auditor.judge.held_out import validation_json
from auditor.judge.robustness import Examined, robustness_json
from auditor.judge.support import dose_response_json, pattern_name, support_json

CONTROLS = tuple((f"indep-{letter}", "independent") for letter in "abcdefgh")
SCORES = {"replication": 0.3, "span": 8.6, "sample": 7.0, "idiosyncrasy": 12.8}
CATEGORIES = tuple(f"kind-{number:02d}" for number in range(24))


@functools.cache
def shipped() -> Calibration:
    """Return the calibration of the shipped pack."""
    return read_calibration(data_dir("probes") / "packs" / "zoo" / "calibration.json")


def details(scores: dict[str, float | None] = SCORES) -> dict[str, Any]:
    """Return what conclusion.json keeps beside the conclusion on ``student``."""
    calibration = shipped()
    support = support_json(calibration, scores)
    used = [f for f in calibration.fusions if pattern_name(f) == support["pattern"]]
    limits = {"sample-llr": 3.1, "idiosyncratic-agreement": 3.0}
    return {
        "support": {"student": support},
        "doses": {"student": dose_response_json(calibration, scores, limits, "LlamaForCausalLM")},
        "robustness": {"student": robustness_json(_examined(scores))},
        "validation": {pattern_name(f): validation_json(f, calibration.controls) for f in used},
    }


def _examined(scores: dict[str, float | None]) -> Examined:
    names = [name for name, _ in CONTROLS]
    values = [0.1 * number for number in range(len(names))]
    row = {"value": 2.0, "control_values": values, "closer": "higher"}
    less = {
        category: dict(zip(("student", *names), (2.0 - 0.02 * i, *values), strict=True))
        for i, category in enumerate(CATEGORIES)
    }
    return Examined(
        suspect="student",
        subjects=Subjects(
            suspects=("student",),
            controls=tuple({"name": name, "role": "independent", "family": name} for name in names),
            architectures=dict.fromkeys(("student", *names), "LlamaForCausalLM"),
        ),
        rows={"sample-llr": row},
        without={"sample-llr": less},
        scores=scores,
        calibration=shipped(),
    )


def scope() -> dict[str, Any]:
    """Return a scope: one category of certain p, one undefined, the rest as usual."""
    parts = [
        {"name": "story", "p": 1e-30, "adjusted": 1e-29, "shows": True, "reason": None},
        {"name": "empty", "p": None, "adjusted": None, "shows": False, "reason": "no controls"},
        *(
            {"name": name, "p": 0.4, "adjusted": 1.0, "shows": False, "reason": None}
            for name in CATEGORIES
        ),
    ]
    return {
        "extent": "targeted",
        "sentence": "The link shows in 1 of 25 parts and not alike in all: targeted at story.",
        "heterogeneity_p": 0.001,
        "parts": parts,
    }


def calibrated_case(root, *, sealed: bool = False) -> Case:
    """Return the fixture case with a calibrated conclusion; `sealed`: its custody log is closed."""
    case = build_case(root, controls=CONTROLS)
    content = case.read_json("conclusion.json") | details()
    one = dict(content["suspects"]["student"])
    one |= {"reading": "imitation", "via": "text", "scope": {"categories": scope(), "layers": None}}
    support = content["support"]["student"]["lines"][0]["pairs"]
    one["log10_lr"] = {pair: found["log10_lr"] for pair, found in support.items()}
    content["suspects"] = {"student": one}
    case.write_json("conclusion.json", content)
    case.write_json("calibration.json", shipped().as_json())
    if sealed:
        events = (
            ("collecting", "09:00"), ("records", "09:10"), ("records", "10:00"), ("seal", "11:30"),
        )  # fmt: skip
        lines = [
            f'{{"event":"{event}","time":"2026-03-01T{time}:00.000+00:00"}}\n'
            for event, time in events
        ]
        (case.data / "custody.jsonl").write_text("".join(lines))
    return case
