"""What a report on one suspect is made of, read from the files of a judged case."""

from dataclasses import dataclass
from typing import Any

from auditor.case import Case
from auditor.errors import CaseError
from auditor.failed import standing
from auditor.report.measure_titles import measure_title
from auditor.report.outcomes import record_outcomes
from auditor.report.words import GROUP_TITLES
from auditor.withheld import redaction

HEADLINES = (
    "neuron-matching",
    "sample-llr",
    "unembedding-span",
    "logit-kl-forward",
    "text-chrf",
    "embedding-cosine",
    "answer-shared-error",
    "answer-shared",
)
"""Measures shown first where they are defined; then the first of each other group. Fixed here, so
that no report shows only the figures that suit a reading."""
_HEADLINE_COUNT = 4
_HEADLINE_PROBES = 10
"""A measure on fewer probes comes after all others: a share of one probe is 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement of a suspect, as a report shows it."""

    id: str
    """``S001``: of the statistic in statistics.json."""
    name: str
    version: str
    title: str
    group: str
    unit: str
    closer: str
    value: float | None
    interval: tuple[float, float] | None
    probes: int
    undefined: str | None
    implementation: str | None
    controls: tuple[tuple[str, float | None], ...]
    """(name, value) of each control, in plan order."""
    z: float | None
    rank_p: float | None
    predictive_p: float | None
    inputs: tuple[str, ...]
    replayable: bool = True
    """False where it rests on what a redacted case withholds."""

    @property
    def control_numbers(self) -> list[float]:
        """The defined control values."""
        return [value for _, value in self.controls if value is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One model of the case."""

    name: str
    role: str
    family: str
    ref: dict[str, Any]
    missing: dict[str, str]
    """Field -> reason why it was not collected."""
    outcomes: dict[str, int]
    """Outcome (``ok``, ``empty``, ``error``) -> number of records."""
    limits: tuple[str, ...] = ()
    """What its source lacks, where somebody else recorded it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything a report on one suspect says, before words and figures."""

    case: Case
    plan: dict[str, Any]
    reference: Subject
    suspect: Subject
    controls: tuple[Subject, ...]
    rows: tuple[Row, ...]
    conclusion: dict[str, Any]
    environment: dict[str, Any]
    judged: dict[str, Any]
    """All of conclusion.json: what stands behind the conclusions is kept beside them."""

    @property
    def groups(self) -> dict[str, list[Row]]:
        """Rows by group, known groups first, in their order."""
        names = [row.group for row in self.rows]
        order = [g for g in GROUP_TITLES if g in names]
        order += sorted({name for name in names if name not in GROUP_TITLES})
        return {group: [row for row in self.rows if row.group == group] for group in order}

    @property
    def headlines(self) -> list[Row]:
        """At most 4 defined rows: those of `HEADLINES`, then the first of each other group."""
        defined = [row for row in self.rows if row.value is not None]
        by_name = {row.name: row for row in defined}
        picked = [by_name[name] for name in HEADLINES if name in by_name]
        for group in self.groups:
            if group not in {row.group for row in picked}:
                picked += [row for row in defined if row.group == group][:1]
        return sorted(picked, key=lambda row: row.probes < _HEADLINE_PROBES)[:_HEADLINE_COUNT]


def suspects(case: Case) -> list[str]:
    """Return the names of the case's suspects, in plan order, without those that failed."""
    return [s["name"] for s in standing(case) if s["role"] == "suspect"]


def planned_suspects(case: Case) -> list[str]:
    """Return the names of all suspects that were to be examined, in plan order."""
    return [s["name"] for s in case.kept_json("plan.json")["subjects"] if s["role"] == "suspect"]


def read_findings(case: Case, suspect: str, subjects: "list[Subject] | None" = None) -> Findings:
    """Return the findings on `suspect`; `subjects` saves reading all records again.

    Raises:
        CaseError: the case is not judged, or holds no such suspect.
    """
    plan = case.kept_json("plan.json")
    statistics = case.kept_json("statistics.json")["suspects"]
    judged = case.kept_json("conclusion.json")
    conclusions = judged["suspects"]
    if suspect not in statistics or suspect not in conclusions:
        raise CaseError(
            f"{suspect!r} is not a judged suspect of this case",
            hint=f"its suspects: {', '.join(suspects(case))}",
        )
    named = {subject.name: subject for subject in subjects or read_subjects(case)}
    controls = tuple(s for s in named.values() if s.role not in ("reference", "suspect"))
    names = [control.name for control in controls]
    hidden = frozenset((redaction(case) or {}).get("statistics", ()))
    return Findings(
        case=case,
        plan=plan,
        reference=named[plan["subjects"][0]["name"]],
        suspect=named[suspect],
        controls=controls,
        rows=tuple(_row(item, names, hidden) for item in statistics[suspect]),
        conclusion=conclusions[suspect],
        environment=case.read_json("environment.json"),
        judged=judged,
    )


def read_subjects(case: Case) -> list[Subject]:
    """Return every subject of the case in plan order, with what was collected of it."""
    subjects = []
    for item in case.read_json("subjects.json")["subjects"]:
        name = item["name"]
        subjects.append(
            Subject(
                name=name,
                role=item["role"],
                family=item["family"],
                ref=item["ref"],
                missing=case.read_json(f"collected/{name}.json")["missing"],
                outcomes=record_outcomes(case, name),
                limits=tuple(item.get("recorded", {}).get("limits", ())),
            )
        )
    return subjects


def _row(item: dict[str, Any], controls: list[str], hidden: frozenset[str]) -> Row:
    name, _, version = item["measure"].partition("@")
    values = item["control_values"]
    if values and len(values) != len(controls):
        raise CaseError(
            f"{item['id']} has {len(values)} control values for {len(controls)} controls",
            hint="measure the case again: auditor measure CASE",
        )
    return Row(
        id=item["id"],
        name=name,
        version=version,
        title=measure_title(name),
        group=item["group"],
        unit=item["unit"],
        closer=item["closer"],
        value=item["value"],
        interval=None if item["interval"] is None else tuple(item["interval"]),
        probes=item["probes"],
        undefined=item["undefined"],
        implementation=item["implementation"],
        controls=tuple(zip(controls, values, strict=False)),
        z=item["z"],
        rank_p=item["rank_p"],
        predictive_p=item["predictive_p"],
        inputs=tuple(item["inputs"]),
        replayable=item["id"] not in hidden,
    )
