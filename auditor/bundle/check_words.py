"""Caps and words (V13): the conclusion says no more than its rules and controls allow."""

import json
from collections.abc import Iterator
from typing import Any

import auditor
from auditor.bundle.check import Check, judged, skipped
from auditor.bundle.check_caps import calibration_faults, stated
from auditor.bundle.evidence import source_digest
from auditor.case import Case
from auditor.judge.calibration import Calibration, shipped_calibrations
from auditor.judge.conclusions import case_calibration, conclusions
from auditor.judge.findings import RULES
from auditor.judge.words import transposed

_RELATIVE = 1e-9


def check_words(case: Case) -> Check:
    """V13: reading, cap, likelihood ratios and phrase follow from statistics and controls."""
    found = case.read_json("conclusion.json")
    planned = case.read_json("plan.json")["rules"]["rules"]
    if found["rules"] != planned and not (case.data / "deviations.json").is_file():
        return judged("V13", ["the reading follows other rules than planned"])
    calibration = case_calibration(case)
    faults = [fault for one in found["suspects"].values() for fault in _worded(one)]
    notes: list[str] = []
    if calibration is not None:
        faults += calibration_faults(calibration)
        faults += [f for n, one in found["suspects"].items() for f in stated(calibration, n, one)]
        release = case.read_json("evidence.json")["tool"]["version"]
        # Nobody here can answer for the packs of another release.
        (faults if release == auditor.__version__ else notes).extend(_unknown(calibration))
    if found["rules"] != RULES:
        return judged("V13", faults) if faults else skipped("V13", f"rules {found['rules']}")
    other = list(_recomputed(case, calibration, found["suspects"]))
    return judged("V13", [*faults, *other, *(_builds(case) if other else ())], notes)


def _builds(case: Case) -> Iterator[str]:
    """Yield what is to be done where another build worded the conclusion and nobody changed it."""
    tool = case.read_json("evidence.json")["tool"]
    if tool["source_digest"] == source_digest():
        yield "if another build judged the case than sealed it: one build must do both again"
    else:
        yield f"another build sealed it, auditor {tool['version']}: verify with that one"


def _unknown(calibration: Calibration) -> list[str]:
    """Return that a calibration is none that ships, where it is so."""
    if calibration.digest in (one.digest for one in shipped_calibrations()):
        return []
    return [f"calibration.json is none of those that ship with auditor {auditor.__version__}"]


def _worded(one: dict[str, Any]) -> Iterator[str]:
    for text in (one["basis"], one["verbal"] or ""):
        for passage in transposed(text):
            yield f"the conclusion gives a probability to a proposition: {passage!r}"
    if (one["log10_lr"] is None) and (one["verbal"] is not None or one["interval"] is not None):
        yield "the conclusion has words or an interval for a likelihood ratio that it lacks"


def _recomputed(
    case: Case, calibration: Calibration | None, found: dict[str, Any]
) -> Iterator[str]:
    ours = case.read_json("evidence.json")["tool"]["source_digest"] == source_digest()
    # Where none was used, a pack of another release may not be brought in.
    shipped = shipped_calibrations() if calibration is None and ours else ()
    computed = conclusions(case, shipped if calibration is None else (calibration,))
    if calibration is None and computed.calibration is not None:
        yield "the likelihood ratios rest on a calibration that the case lacks"
    wanted = computed.suspects
    fields = _FIELDS if calibration is not None or ours else _WITHOUT_PACK
    for name, one in wanted.items():
        for field in fields:
            if not _same(found[name][field], one[field]):
                yield f"{name}: {field} is not what the statistics give: {_short(one[field])}"


_WITHOUT_PACK = ("reading", "via", "basis", "cap", "log10_lr", "interval", "verbal")
_FIELDS = (*_WITHOUT_PACK, "limits", "power", "dose", "scope")
_SHOWN = 120


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, (list, tuple)) and isinstance(found, (list, tuple)):
        pairs = zip(found, wanted, strict=False)
        return len(found) == len(wanted) and all(_same(one, other) for one, other in pairs)
    if isinstance(found, (int, float)) and isinstance(wanted, (int, float)):
        return abs(found - wanted) <= _RELATIVE * max(abs(found), abs(wanted), 1.0)
    return bool(found == wanted)
