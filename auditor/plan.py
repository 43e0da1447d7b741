"""What an audit will do, fixed before it starts: subjects, probes, seeds, decoding.

The plan is the identity of a case: repeating a command gives the same plan and continues the case.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from auditor.case import FORMATS
from auditor.errors import InputError, MissingExtraError, RecordsError
from auditor.judge.findings import Thresholds
from auditor.panel import NULL_ROLES
from auditor.types import CONTROL_ROLES, Access, Decoding, ModelRef, Probe, Role

SCHEMA = FORMATS["plan.json"]
DEFAULT_PROBES = 96
_ENDINGS = re.compile(r"\.(gguf|jsonl|eval|json|parquet)(\?.*)?$")
PACK = "pack:"
"""Starts a control that stands for all controls of a shipped pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSpec:
    """A control model as asked for: its specifier, its role and the family it belongs to."""

    spec: str
    role: Role = "independent"
    family: str | None = None
    """None: a family of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The model of which a case holds a baseline for `auditor watch`."""

    role: str
    """``reference`` or ``suspect``."""
    candidates: int = 400
    """Questions to choose from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest:
    """One audit as a person asks for it."""

    command: str
    reference: str
    suspects: tuple[str, ...]
    controls: tuple[ControlSpec, ...] = ()
    suites: tuple[str, ...] = ()
    """Empty: the default mix."""
    access: Access = Access.WEIGHTS
    """The most that may be used of any subject."""
    probes: int | None = DEFAULT_PROBES
    repeats: int = 1
    decoding: Decoding = field(default_factory=Decoding)
    system: str | None = None
    """Message before every chat that brings none of its own."""
    seed: int = 0
    device: str | None = None
    dtype: str | None = None
    batch_tokens: int = 2048
    encoder: str | None = "all-MiniLM-L6-v2"
    watch: Watched | None = None
    """The baseline for `auditor watch` that is made besides."""
    unread: frozenset[str] = frozenset()
    """Specifiers of suspects that may be unreadable: such a one is planned without a digest, and
    fails when it is loaded."""


def parse_control(text: str) -> ControlSpec:
    """Return the control of ``SPEC[=ROLE]``; a trailing ``=word`` that is no role is refused.

    Raises:
        InputError: the role is unknown.
    """
    spec, mark, role = text.rpartition("=")
    for known in CONTROL_ROLES:
        if mark and role == known:
            return ControlSpec(spec=spec, role=known)
    # openai:model?base_url=... holds an "=" that belongs to the specifier.
    if not mark or "?" in spec or "/" in role:
        return ControlSpec(spec=text)
    raise InputError(
        f"unknown control role {role!r} in {text!r}", hint=f"roles: {', '.join(CONTROL_ROLES)}"
    )


def plan_audit(request: AuditRequest) -> dict[str, Any]:
    """Return the plan of a request: every model identified by digest, every probe chosen.

    Raises:
        InputError: a model, a suite or a number of the request cannot be used.
    """
    from auditor.case_watch import check_watch
    from auditor.collect import suite
    from auditor.collect.conditions import conditioned

    _check_numbers(request)
    names = request.suites or suite.DEFAULT_SUITES
    suites = [suite.load_suite(name) for name in names]
    sources = {s.id: name for s, name in zip(suites, names, strict=True)}
    selected = suite.select_probes(suites, request.probes, request.seed)
    subjects = _subjects(request)
    asked = [conditioned(probe, request.system) for _, probes in selected for probe in probes]
    _check_recorded([s for s in subjects if s["spec"] not in request.unread], asked)
    if request.watch is not None:
        check_watch(request.watch.role, request.access, subjects)
    return {
        "schema": SCHEMA,
        "command": request.command,
        "subjects": subjects,
        "suites": [
            {
                "name": chosen.name,
                "version": chosen.version,
                "digest": chosen.digest,
                "source": str(sources[chosen.id]),
                "probes": [probe.id for probe in probes],
            }
            for chosen, probes in selected
        ],
        "access": request.access.name,
        "repeats": request.repeats,
        "decoding": request.decoding.as_json(),
        **_stated(request),
        "seed": request.seed,
        "device": request.device,
        "dtype": request.dtype,
        "batch_tokens": request.batch_tokens,
        "encoder": request.encoder,
        "rules": Thresholds().as_json(),
    }


def _stated(request: AuditRequest) -> dict[str, Any]:
    """Return keys that are left out where unstated, so that cases begun before them go on."""
    watch = None if request.watch is None else asdict(request.watch)
    found = {"system": request.system, "watch": watch}
    return {key: value for key, value in found.items() if value is not None}


def _check_recorded(subjects: Sequence[dict[str, Any]], probes: Sequence[Probe]) -> None:
    """Refuse recorded outputs that answer none of the probes.

    Raises:
        RecordsError: there are such.
    """
    from auditor.models.recorded import open_recorded
    from auditor.models.specifier import parse

    for spec in dict.fromkeys(subject["spec"] for subject in subjects):
        specifier = parse(spec)
        if specifier.scheme != "records":
            continue
        model = open_recorded(specifier)
        answers = any(model.available((probe,)) for probe in probes)
        prompts = model.facts.prompts
        model.close()
        if not answers:
            raise RecordsError(
                f"{spec} answers none of the {len(probes)} planned probes, by id or prompt; "
                f"it holds replies to {prompts} others",
                hint="make a suite of what was asked, and name it: auditor probes import "
                f"{shlex.quote(spec)} --out DIR, then --suite DIR",
            )


def _check_numbers(request: AuditRequest) -> None:
    if request.probes is not None and request.probes < 1:
        raise InputError(f"--probes {request.probes}: at least 1 probe is needed")
    if request.repeats < 1:
        raise InputError(f"--repeats {request.repeats}: at least 1 sample a probe is needed")
    if request.system is not None and not request.system.strip():
        raise InputError("an empty system message", hint="leave --system out")
    if not request.suspects:
        raise InputError("no suspect was given", hint="auditor compare SUSPECT REFERENCE")


def _subjects(request: AuditRequest) -> list[dict[str, Any]]:
    examined = [ControlSpec(spec=spec) for spec in (request.reference, *request.suspects)]
    roles: list[str] = ["reference", *["suspect"] * len(request.suspects)]
    listed = _Listed(request.unread)
    for model, role in zip(examined, roles, strict=True):
        listed.add(model, role)
    for control in request.controls:
        if control.spec.startswith(PACK):
            listed.add_pack(control.spec.removeprefix(PACK))
        else:
            listed.add(control, control.role)
    _check_controls(listed.subjects)
    return listed.subjects


class _Listed:
    """The subjects of a plan as they are added, each model identified once."""

    def __init__(self, unread: frozenset[str]) -> None:
        self.subjects: list[dict[str, Any]] = []
        self._identified: dict[str, ModelRef] = {}
        self._unread = unread

    def add(self, model: ControlSpec, role: str) -> None:
        from auditor.models.specifier import parse

        parsed = parse(model.spec)
        spec = parsed.planned
        name = _unique_name(parsed.canonical, [subject["name"] for subject in self.subjects])
        self.subjects.append(
            {
                "name": name,
                "role": role,
                "family": model.family or name,
                "spec": spec,
                "digest": self._digest(spec, role),
            }
        )

    def _digest(self, spec: str, role: str) -> str | None:
        try:
            return self._identify(spec).digest
        except (InputError, MissingExtraError):
            if role != "suspect" or spec not in self._unread:
                raise
            return None

    def add_pack(self, name: str) -> None:
        """Add the controls of a shipped pack, but for those that are examined themselves."""
        from auditor.models.tiny import pack_controls

        examined = {subject["digest"] for subject in self.subjects}
        for control in pack_controls(name):
            if self._identify(control.spec).digest not in examined:
                self.add(ControlSpec(spec=control.spec, family=control.family), control.role)

    def _identify(self, spec: str) -> ModelRef:
        from auditor.models.specifier import identify

        if spec not in self._identified:
            self._identified[spec] = identify(spec)
        return self._identified[spec]


def _check_controls(subjects: list[dict[str, Any]]) -> None:
    """Refuse controls that would make every number after them wrong.

    Raises:
        InputError: a control is the reference or a suspect, by its weights, or one family holds
            controls with and without a link to the reference.
    """
    examined = [s for s in subjects if s["role"] in ("reference", "suspect")]
    controls = [s for s in subjects if s not in examined]
    by_digest = {s["digest"]: s for s in examined if s["digest"] is not None}
    linked: dict[str, bool] = {}
    for control in controls:
        twin = by_digest.get(control["digest"])
        if twin is not None:
            raise InputError(
                f"the control {control['spec']} is the {twin['role']} {twin['spec']} itself: "
                "both have the same weights",
                hint="leave it out, or name another model",
            )
        link = control["role"] not in NULL_ROLES
        if linked.setdefault(control["family"], link) != link:
            raise InputError(
                f"the family {control['family']!r} holds controls with and without a link to the "
                "reference",
                hint="a family is one or the other: give them different families, or roles",
            )


def _unique_name(spec: str, taken: Sequence[str]) -> str:
    if spec.startswith("openai:"):
        spec = spec.partition("?")[0]  # the address of a server says less than its model
    words = re.split(r"[^A-Za-z0-9.-]+", re.sub(_ENDINGS, "", spec))
    words = [word.strip(".-").lower() for word in words if word.strip(".-")]
    # A training run keeps its model in RUN/student: the run's name says more.
    if len(words) > 1 and words[-1] in ("student", "model"):
        words.pop()
    stem = words[-1] if words else "model"
    name, count = stem, 1
    while name in taken:
        count += 1
        name = f"{stem}-{count}"
    return name
