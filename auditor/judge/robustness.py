"""Does a finding hang on one thing? Each score, control family and probe category left out in turn.

Leaving out one thing at a time shows what the finding rests on; it is no interval, and says nothing
of two things left out together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from auditor.canon import finite
from auditor.errors import UndefinedError
from auditor.judge.calibration import FEATURE_OF, Calibration
from auditor.judge.evidence import (
    DECISIVE,
    SPAN,
    Subjects,
    null_controls,
    null_values,
    null_values_without,
)
from auditor.judge.fuse import Fusion, point_ratios, select_fusion
from auditor.judge.null import Standing, standing
from auditor.judge.scores import Pair

Row = dict[str, Any]
Scores = Mapping[str, float | None]
_FEATURE = {**FEATURE_OF, SPAN: "span"}
"""Score that a placed measure is fused as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What is known of one suspect."""

    suspect: str
    subjects: Subjects
    rows: Mapping[str, Row]
    """Statistics by name of the measure, without version."""
    without: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    """By name of the measure: category left out -> subject -> value."""
    scores: Scores
    calibration: Calibration | None


def robustness_json(examined: Examined) -> Row:
    """Return the tests and likelihood ratios with nothing left out, and with each thing left out.

    ``group``: the fusion without one score. ``control-family``: the place among the other families
    of the case, the suspect's own value kept. ``category``: the decisive tests on the other probes.
    ``calibration``: the extremes over the fits without one family of the pack. Ratios are points,
    with the caps of their fusion.
    """
    fusion = _fusion(examined)
    every = {name: place for name in DECISIVE if (place := _placed(examined, name)) is not None}
    return {
        "base": _row("none", "", every, _ratios(fusion, examined.scores)),
        "rows": [
            *_groups(examined, fusion),
            *_families(examined, fusion),
            *_categories(examined, fusion),
        ],
        "calibration": None if fusion is None else _calibration(fusion, examined.scores),
    }


def _fusion(examined: Examined) -> Fusion | None:
    if examined.calibration is None:
        return None
    try:
        return select_fusion(examined.calibration.fusions, examined.scores)
    except UndefinedError:
        return None


def _ratios(fusion: Fusion | None, scores: Scores) -> dict[str, float] | None:
    if fusion is None:
        return None
    try:
        return point_ratios(fusion, scores)
    except UndefinedError:
        return None


def _row(
    kind: str, dropped: str, places: Mapping[str, Standing], ratios: dict[str, float] | None
) -> Row:
    return {
        "kind": kind,
        "dropped": dropped,
        "tests": {
            name: {"z": place.z, "rank_p": place.rank_p, "predictive_p": place.predictive_p}
            for name, place in places.items()
        },
        "log10_lr": ratios,
    }


def _groups(examined: Examined, fusion: Fusion | None) -> Iterator[Row]:
    if fusion is None or examined.calibration is None:
        return
    known = examined.calibration
    fitted = {one.recipe.names: one for one in (*known.reduced, *known.lines, *known.fusions)}
    for name in fusion.recipe.names:
        less = fitted.get(tuple(other for other in fusion.recipe.names if other != name))
        if less is not None:
            yield _row("group", name, {}, _ratios(less, examined.scores))


def _families(examined: Examined, fusion: Fusion | None) -> Iterator[Row]:
    subjects = examined.subjects
    used = {
        subjects.controls[i]["family"]
        for name in (*DECISIVE, SPAN)
        if (row := examined.rows.get(name)) is not None and row["value"] is not None
        for i in null_controls(row, examined.suspect, subjects)
    }
    for family in sorted(used):
        places = {
            name: place
            for name in (*DECISIVE, SPAN)
            if (place := _placed(examined, name, family)) is not None
        }
        scores = {**examined.scores, **{_FEATURE[name]: place.z for name, place in places.items()}}
        tests = {name: places[name] for name in DECISIVE if name in places}
        yield _row("control-family", family, tests, _ratios(fusion, scores))


def _placed(examined: Examined, name: str, less: str | None = None) -> Standing | None:
    row = examined.rows.get(name)
    if row is None or row["value"] is None:
        return None
    known = examined.suspect, examined.subjects
    values = null_values(row, *known) if less is None else null_values_without(row, *known, less)
    return standing(row["value"], values, row["closer"])


def _categories(examined: Examined, fusion: Fusion | None) -> Iterator[Row]:
    names = sorted({category for found in examined.without.values() for category in found})
    for category in names:
        places = {
            name: place
            for name in DECISIVE
            if (place := _less_category(examined, name, category)) is not None
        }
        if places:
            z = {_FEATURE[name]: place.z for name, place in places.items()}
            yield _row("category", category, places, _ratios(fusion, {**examined.scores, **z}))


def _less_category(examined: Examined, name: str, category: str) -> Standing | None:
    values = examined.without.get(name, {}).get(category, {})
    value = values.get(examined.suspect)
    if value is None:
        return None
    row = {
        "value": value,
        "control_values": [values.get(c["name"]) for c in examined.subjects.controls],
    }
    pool = null_values({**row, "closer": "higher"}, examined.suspect, examined.subjects)
    return standing(value, pool, "higher")


def _calibration(fusion: Fusion, scores: Scores) -> Row | None:
    """Return the extremes of each ratio over the fits without one family; None without fits."""
    if not fusion.folds:
        return None
    found = {family: point_ratios(fusion, scores, fit) for family, fit in fusion.folds.items()}
    return {
        "families": len(found),
        "pairs": {pair: _extremes(pair, found) for pair in fusion.bounds},
    }


def _extremes(pair: Pair, found: Mapping[str, Mapping[str, float]]) -> Row:
    ordered = sorted((ratios[pair], family) for family, ratios in found.items())
    (low, lowest), (high, highest) = ordered[0], ordered[-1]
    return {
        "lowest": finite(low),
        "without_lowest": lowest,
        "highest": finite(high),
        "without_highest": highest,
    }
