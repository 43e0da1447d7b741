"""What each line of evidence says alone and what they say together: the numbers of the LR forest.

The lines depend on each other. Their ratios stand beside the fusion to be looked at, never to be
multiplied.
"""

from collections.abc import Mapping
from typing import Any

from auditor.canon import finite
from auditor.errors import UndefinedError
from auditor.judge.calibration import FEATURE_OF, Calibration
from auditor.judge.dose import DoseCurve, dose_curve
from auditor.judge.fuse import Fusion, PairResult, fuse, select_fusion

Scores = Mapping[str, float | None]


def pattern_name(fusion: Fusion) -> str:
    """Return the name of an access pattern: its scores, joined."""
    return "+".join(fusion.recipe.names)


def support_json(calibration: Calibration, scores: Scores) -> dict[str, Any]:
    """Return the likelihood ratios of the fusion and of each line alone, with caps and intervals.

    A line without a value carries its reason. ``pattern`` is the fusion that was used, None where
    none was validated for the scores that the suspect has.
    """
    lines = []
    try:
        fusion = select_fusion(calibration.fusions, scores)
        pattern: str | None = pattern_name(fusion)
        lines.append(_line("fusion", fusion, scores))
    except UndefinedError as error:
        pattern = None
        lines.append(_undefined("fusion", (), error.message))
    lines += [_line(one.recipe.names[0], one, scores) for one in calibration.lines]
    return {
        "pattern": pattern,
        "scores": {name: None if v is None else finite(v) for name, v in sorted(scores.items())},
        "lines": lines,
    }


def _line(name: str, fusion: Fusion, scores: Scores) -> dict[str, Any]:
    try:
        found = fuse(fusion, scores)
    except UndefinedError:
        missing = [score for score in fusion.recipe.names if scores.get(score) is None]
        reason = f"not defined for this suspect: {', '.join(missing) or 'out of its range'}"
        return _undefined(name, fusion.recipe.names, reason)
    return {
        "line": name,
        "scores": list(fusion.recipe.names),
        "pairs": {pair: _pair_json(result) for pair, result in found.pairs.items()},
        "undefined": None,
    }


def _undefined(name: str, scores: tuple[str, ...], reason: str) -> dict[str, Any]:
    return {"line": name, "scores": list(scores), "pairs": {}, "undefined": reason}


def _pair_json(result: PairResult) -> dict[str, Any]:
    return {
        "log10_lr": finite(result.log10_lr),
        "interval": [finite(end) for end in result.interval],
        "unbounded": finite(result.unbounded),
        "bounds": [result.bounds.lower, result.bounds.upper],
        "families": list(result.bounds.families),
        "capped": result.capped,
    }


def dose_response_json(
    calibration: Calibration,
    scores: Scores,
    thresholds: Mapping[str, float],
    architecture: str | None,
) -> list[dict[str, Any]]:
    """Return, for each decisive test, what controls of graded dose score and where a suspect lies.

    A test whose controls do not match the suspect carries the reason instead of a curve.
    """
    found = []
    for test in sorted(calibration.doses):
        row: dict[str, Any] = {
            "test": test,
            "score": scores.get(FEATURE_OF[test]),
            "threshold": thresholds.get(test),
            "curve": [],
            "undefined": None,
        }
        try:
            _check_graded(calibration, architecture, row["score"])
            row["curve"] = _curve_json(dose_curve(calibration.doses[test]))
        except UndefinedError as error:
            row["undefined"] = error.message
        found.append(row)
    return found


def _check_graded(calibration: Calibration, architecture: str | None, score: float | None) -> None:
    if score is None:
        raise UndefinedError("the test is not defined for this suspect")
    if architecture not in calibration.graded:
        graded = ", ".join(calibration.graded)
        raise UndefinedError(f"the graded controls are {graded} students, the suspect is not")


def _curve_json(curve: DoseCurve) -> list[dict[str, Any]]:
    columns = zip(curve.doses, curve.means, curve.spreads, curve.families, strict=True)
    return [
        {
            "dose": finite(dose),
            "mean": finite(mean),
            "spread": finite(spread),
            "families": int(families),
        }
        for dose, mean, spread, families in columns
    ]
