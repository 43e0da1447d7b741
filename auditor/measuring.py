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
    wanted = wanted or Measuring()
    subjects = standing(case)
    suspects = [s for s in subjects if s["role"] == "suspect"]
    controls = [s for s in subjects if s["role"] not in ("reference", "suspect")]
    with progress.task("measure", len(suspects) + len(controls)) as task:
        measured = {}
        pairs = Pairs(case)
        for subject in [*suspects, *controls]:
            measured[subject["name"]] = _measured(case, pairs, subject, wanted)
            task.advance()
    who = subjects_of(case)
    control_rows = [measured[control["name"]].rows for control in controls]
    statistics: dict[str, list[dict[str, Any]]] = {}
    number = 0
    for suspect in suspects:
        rows = statistics.setdefault(suspect["name"], [])
        for index, measurement in enumerate(measured[suspect["name"]].rows):
            number += 1
            values = tuple(row[index].value for row in control_rows)
            row = replace(measurement, control_values=values).as_json()
            place = _place(row, suspect["name"], who)
            tolerance = _tolerance(measurement.measure)
            rows.append({"id": f"S{number:03d}", **row, **place, "tolerance": tolerance})
    content = {
        "schema": "auditor/statistics/1",
        "suspects": statistics,
        "scope": {suspect["name"]: measured[suspect["name"]].scope for suspect in suspects},
        "without": _turned({name: found.less for name, found in measured.items()}),
    }
    case.write_json("statistics.json", content)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was measured of one subject."""

    rows: tuple[Measurement, ...]
    less: "Less"
    scope: dict[str, list[dict[str, Any]]]
    """Of a suspect."""


def _measured(case: Case, pairs: Pairs, subject: dict[str, Any], wanted: Measuring) -> _Measured:
    from auditor.measures._categories import without_categories

    name, suspected = subject["name"], subject["role"] == "suspect"
    # Only the values of a control are used, so it needs no interval.
    chosen = wanted if suspected else replace(wanted, resamples=0)
    pair = pairs.load(case.kept_json("plan.json")["subjects"][0]["name"], name)
    return _Measured(
        rows=_rows(case, pair, name, chosen),
        less=without_categories(pair, DECISIVE),
        scope=_scope(pair) if suspected else {},
    )


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


def _rows(case: Case, pair: Pair, subject: str, wanted: Measuring) -> tuple[Measurement, ...]:
    from auditor.measures._run import measure_pair

    plan = case.kept_json("plan.json")
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
