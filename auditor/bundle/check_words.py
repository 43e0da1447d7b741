"""Caps and words (V13): the conclusion says no more than its rules and controls allow."""

from collections.abc import Iterator
from typing import Any

from auditor.bundle.check import Check, judged, skipped
from auditor.case import Case
from auditor.judge.calibration import FILE as CALIBRATION
from auditor.judge.conclusions import judge
from auditor.judge.evidence import gather
from auditor.judge.findings import RULES
from auditor.judge.reading import conclude
from auditor.judge.words import transposed

_RELATIVE = 1e-9


def check_words(case: Case) -> Check:
    """V13: reading, cap, likelihood ratios and phrase follow from the stored statistics."""
    found = case.read_json("conclusion.json")
    planned = case.read_json("plan.json")["rules"]["rules"]
    if found["rules"] != planned and not (case.data / "deviations.json").is_file():
        return judged("V13", ["the reading follows other rules than planned"])
    faults = [fault for one in found["suspects"].values() for fault in _worded(one)]
    if found["rules"] != RULES:
        return judged("V13", faults) if faults else skipped("V13", f"rules {found['rules']}")
    return judged("V13", [*faults, *_recomputed(case, found["suspects"])])


def _worded(one: dict[str, Any]) -> Iterator[str]:
    for text in (one["basis"], one["verbal"] or ""):
        for passage in transposed(text):
            yield f"the conclusion gives a probability to a proposition: {passage!r}"
    if (one["log10_lr"] is None) and (one["verbal"] is not None or one["interval"] is not None):
        yield "the conclusion has words or an interval for a likelihood ratio that it lacks"


def _recomputed(case: Case, found: dict[str, Any]) -> Iterator[str]:
    calibrated = (case.data / CALIBRATION).is_file()
    # Without a calibration in the case none was used, and none may be brought in.
    wanted: dict[str, Any] = (
        judge(case)["suspects"]
        if calibrated
        else {name: conclude(evidence).as_json() for name, evidence in gather(case).items()}
    )
    fields = ("reading", "via", "basis", "cap", "log10_lr", "interval", "verbal")
    for name, one in wanted.items():
        for field in fields:
            if not _same(found[name][field], one[field]):
                yield f"{name}: {field} is not what the statistics give"


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, (list, tuple)) and isinstance(found, (list, tuple)):
        pairs = zip(found, wanted, strict=False)
        return len(found) == len(wanted) and all(_same(one, other) for one, other in pairs)
    if isinstance(found, (int, float)) and isinstance(wanted, (int, float)):
        return abs(found - wanted) <= _RELATIVE * max(abs(found), abs(wanted), 1.0)
    return bool(found == wanted)
