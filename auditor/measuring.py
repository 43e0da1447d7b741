"""Measure a collected case: every measure on every suspect, and its place among the controls."""

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from auditor.case import Case
from auditor.errors import UndefinedError
from auditor.failed import standing
from auditor.judge.evidence import DECISIVE, Subjects, placed, subjects_of
from auditor.outputs import Pair
from auditor.pairing import Pairs
from auditor.progress import Progress
from auditor.types import Measurement

if TYPE_CHECKING:
    from auditor.measures._categories import Less


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """Which measures are applied, and how their intervals are drawn."""

    names: tuple[str, ...] | None = None
    """None: all."""
    resamples: int = 1000
    """Of each interval; 0 for none."""


def measure_case(case: Case, progress: Progress, wanted: Measuring | None = None) -> None:
    """Write statistics.json: every measure on every suspect, with its place among the controls."""
    from auditor.measures._categories import without_categories

    wanted = wanted or Measuring()
    subjects = standing(case)
    suspects = [s for s in subjects if s["role"] == "suspect"]
    controls = [s for s in subjects if s["role"] not in ("reference", "suspect")]
    with progress.task("measure", len(suspects) + len(controls)) as task:
        measured, less = {}, {}
        pairs = Pairs(case)
        for subject in [*suspects, *controls]:
            # Only the values of a control are used, so it needs no interval.
            chosen = wanted if subject in suspects else replace(wanted, resamples=0)
            pair = pairs.load(subjects[0]["name"], subject["name"])
            measured[subject["name"]] = _measure(case, pair, subject["name"], chosen)
            less[subject["name"]] = without_categories(pair, DECISIVE)
            task.advance()
    who = subjects_of(case)
    control_rows = [measured[control["name"]] for control in controls]
    statistics: dict[str, list[dict[str, Any]]] = {}
    number = 0
    for suspect in suspects:
        rows = statistics.setdefault(suspect["name"], [])
        for index, measurement in enumerate(measured[suspect["name"]]):
            number += 1
            values = tuple(row[index].value for row in control_rows)
            row = replace(measurement, control_values=values).as_json()
            place = _place(row, suspect["name"], who)
            tolerance = _tolerance(measurement.measure)
            rows.append({"id": f"S{number:03d}", **row, **place, "tolerance": tolerance})
    reference = subjects[0]["name"]
    content = {
        "schema": "auditor/statistics/1",
        "suspects": statistics,
        "scope": {s["name"]: _scope(pairs.load(reference, s["name"])) for s in suspects},
        "without": _turned(less),
    }
    case.write_json("statistics.json", content)


def _turned(less: "dict[str, Less]") -> dict[str, dict[str, dict[str, float | None]]]:
    """Return measure -> category left out -> subject -> value, from the same by subject."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for subject, measures in less.items():
        for measure, categories in measures.items():
            for category, value in categories.items():
                found.setdefault(measure, {}).setdefault(category, {})[subject] = value
    return found


def _tolerance(measure: str) -> dict[str, float]:
    """Return how far another implementation may be off: the larger of the two counts."""
    from auditor.measures._registry import get

    relative, absolute = get(measure).tolerance
    return {"relative": relative, "absolute": absolute}


def _scope(pair: Pair) -> dict[str, list[dict[str, Any]]]:
    """Return the sample LLR by probe category and neuron matching by layer, where defined."""
    from auditor.measures._neurons import layer_p
    from auditor.measures.sample_llr import sample_llr_by_category

    found: dict[str, list[dict[str, Any]]] = {}
    with contextlib.suppress(UndefinedError):  # the measurement of the whole has the reason
        pair.require("crossing")
        pair.require("pool")
        found["categories"] = [
            {"name": name, "value": part.value, "pool": list(part.pool), "probes": part.probes}
            for name, part in sample_llr_by_category(pair).items()
        ]
    with contextlib.suppress(UndefinedError):
        found["layers"] = layer_p(pair)
    return found


def _measure(case: Case, pair: Pair, subject: str, wanted: Measuring) -> tuple[Measurement, ...]:
    from auditor.measures._run import measure_pair

    plan = case.read_json("plan.json")
    kernel = case.read_json(f"collected/{subject}.json")["implementation"]
    return tuple(
        _with_kernel(m, kernel)
        for m in measure_pair(
            pair, seed=plan["seed"], resamples=wanted.resamples, names=wanted.names
        )
    )


def _with_kernel(measurement: Measurement, kernel: str | None) -> Measurement:
    """Name the kernel that computed the stored positions beside the arithmetic on them."""
    if kernel is None or measurement.group != "distribution" or measurement.value is None:
        return measurement
    return replace(measurement, implementation=f"{kernel}; {measurement.implementation}")


def _place(row: dict[str, Any], suspect: str, subjects: Subjects) -> dict[str, float | None]:
    """Return the fields of a measurement that say where it lies among the controls."""
    place = placed(row, suspect, subjects)
    return {
        name: None if place is None else getattr(place, name)
        for name in ("z", "rank_p", "predictive_p")
    }
