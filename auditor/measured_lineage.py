"""Declared and measured lineage: the audit half, run on a student against its declared teacher.

A lineage says who taught a student, how and in which dose. The audit measures the same from the
models alone. Where the two disagree, one of them is wrong; where nothing can be measured, the
reason is said.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from auditor.canon import file_digest, json_digest, pretty_json
from auditor.case import Case, atomic_write
from auditor.distill.finished_run import FinishedRun, unchanged
from auditor.plan import AuditRequest, ControlSpec
from auditor.progress import Progress, Silent
from auditor.types import Decoding

SCHEMA = "auditor/measured-lineage/1"
CONSISTENT, CONTRADICTED, NOT_MEASURABLE = "consistent", "contradicted", "not measurable"
_PACK = "zoo"
_PACK_SUITES = ("instructions", "continuations", "reasoning", "ood")
"""What the pack of tiny controls was calibrated on."""
_VIA = {"logits": "logits", "on-policy": "logits", "sequence": "text"}
"""Method -> what its students learn from, as an audit would read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a measurement says of a declaration."""

    word: str
    """``consistent``, ``contradicted`` or ``not measurable``."""
    reason: str


def measure_lineage(
    run: Path,
    *,
    teacher: str | None = None,
    controls: tuple[ControlSpec, ...] = (),
    probes: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Audit a run's student against its declared teacher; write RUN/measured-lineage.json.

    The case of the audit is in RUN/audit, one for each teacher, controls and number of probes that
    were asked for. A repeated call continues it, or returns what it found.

    Args:
        run: folder of the finished run.
        teacher: where the teacher is now, if not where the run found it.
        controls: models of known relation to the teacher; if none, those that ship with the
            package where they fit: for a teacher that ships with it, too.
        probes: how many; if None as many as the pack was calibrated on, or the usual number.
        progress: shown while models run.

    Raises:
        CaseError: it is not a finished run, or its student or teacher was changed.
        SubjectError: the teacher cannot be found.
        StorageError: the disk is full; repeat the call to continue.
    """
    finished = FinishedRun(run)
    declared = declaration(finished.lineage)
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "run": file_digest(finished.folder.lineage),
        "declared": declared,
        "measured": None,
        "case": None,
    }
    if declared["teacher"] is None:
        outcome = Outcome(word=NOT_MEASURABLE, reason="the run declares no teacher")
    elif declared["teacher"]["spec"].startswith("records:") and teacher is None:
        reason = "of the teacher only recorded answers are known; name it with --teacher"
        outcome = Outcome(word=NOT_MEASURABLE, reason=reason)
    else:
        spec = unchanged(teacher or declared["teacher"]["spec"], declared["teacher"]["digest"])
        unchanged(f"local:{finished.folder.student}", finished.lineage["student"]["digest"])
        request = _request(finished.folder.student, spec, controls, probes)
        found["case"] = f"audit/{_tag(request)}"
        conclusion = _conclusion(request, run / found["case"], progress or Silent())
        found["measured"] = measured(conclusion)
        outcome = judged(declared, found["measured"])
    found["outcome"], found["reason"] = outcome.word, outcome.reason
    atomic_write(finished.folder.measured_lineage, pretty_json(found))
    return found


def declaration(lineage: dict[str, Any]) -> dict[str, Any]:
    """Return what a lineage declares of what an audit can measure.

    ``weights``: the student starts from the teacher's. ``dose``: weight of the teacher in the loss.
    """
    teacher, student = lineage["teacher"], lineage["student"]
    origin = student["started_from"]
    kept = teacher is not None and origin is not None and origin["digest"] == teacher["digest"]
    kind = lineage["method"]["kind"]
    return {
        "teacher": teacher and {key: teacher[key] for key in ("spec", "digest")},
        "method": kind,
        "via": _VIA.get(kind),
        "dose": lineage["dose"]["share"],
        "weights": student["origin"] == "shrink" or kept,
    }


def measured(conclusion: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of an audit's conclusion that a declaration can be held against."""
    kept = ("reading", "via", "basis", "cap", "dose", "power", "log10_lr", "limits")
    return {key: conclusion.get(key) for key in kept}


def judged(declared: dict[str, Any], found: dict[str, Any]) -> Outcome:
    """Return whether a measurement agrees with the declaration.

    A reading that is inconclusive measures nothing. A missing trace contradicts a dose only where
    that dose would have been seen.
    """
    reading = found["reading"]
    if reading == "inconclusive":
        return Outcome(word=NOT_MEASURABLE, reason=f"the audit is inconclusive: {found['basis']}")
    if reading == "replication":
        return _replication(declared)
    taught = declared["dose"] > 0 or declared["weights"]
    if reading == "no-link":
        return _no_link(declared, found) if taught else _agrees("no trace of the teacher")
    if not taught:
        return _differs("the audit reads imitation, and the teacher had no weight in the loss")
    if declared["via"] == "text" and found["via"] == "logits":
        return _differs("the audit sees training on logits, and only answers are declared")
    via = "" if found["via"] is None else f" via {found['via']}"
    return _agrees(f"the audit reads imitation{via}")


def _replication(declared: dict[str, Any]) -> Outcome:
    if declared["weights"]:
        return _agrees("the audit finds the teacher's weights, from which the student started")
    return _differs("the audit finds the teacher's weights, and none are declared to be used")


def _no_link(declared: dict[str, Any], found: dict[str, Any]) -> Outcome:
    seen = found["power"] and found["power"]["dose"]
    if seen is None or declared["dose"] < seen:
        least = "no dose is known to be" if seen is None else f"a dose below {seen:.0%} is not"
        return Outcome(
            word=NOT_MEASURABLE, reason=f"the audit finds no link, and {least} seen for certain"
        )
    return _differs(
        f"the audit finds no link, and a dose of {seen:.0%} or more would have been seen"
    )


def _agrees(reason: str) -> Outcome:
    return Outcome(word=CONSISTENT, reason=reason)


def _differs(reason: str) -> Outcome:
    return Outcome(word=CONTRADICTED, reason=reason)


def _request(
    student: Path, teacher: str, controls: tuple[ControlSpec, ...], probes: int | None
) -> AuditRequest:
    own_pack = not controls and _ships_with_controls(teacher)
    request = AuditRequest(
        command="compare",
        reference=teacher,
        suspects=(f"local:{student}",),
        controls=(ControlSpec(spec=f"pack:{_PACK}"),) if own_pack else controls,
    )
    if own_pack:
        request = replace(
            request,
            suites=_PACK_SUITES,
            probes=48,
            decoding=Decoding(max_new_tokens=64),
            encoder=None,
        )
    return request if probes is None else replace(request, probes=probes)


def _ships_with_controls(teacher: str) -> bool:
    """Say whether the shipped controls are independent of a teacher: not where it is of them."""
    scheme, _, name = teacher.partition(":")
    return scheme == "tiny" and (name.startswith(f"{_PACK}/reference") or "/" not in name)


def _tag(request: AuditRequest) -> str:
    """Return a name for the case; it does not depend on where the run lies."""
    asked = {
        "reference": request.reference,
        "controls": [asdict(control) for control in request.controls],
        "probes": request.probes,
    }
    return json_digest(asked).removeprefix("sha256:")[:8]


def _conclusion(request: AuditRequest, folder: Path, progress: Progress) -> dict[str, Any]:
    from auditor.audit import audit

    case: Case = audit(request, folder, progress)
    conclusions: dict[str, dict[str, Any]] = case.read_json("conclusion.json")["suspects"]
    return next(iter(conclusions.values()))
