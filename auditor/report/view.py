"""A report before it is typeset: every sentence, number and figure, in order, exhibits numbered."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from auditor.outputs import Pair
from auditor.report import plates, words
from auditor.report.declared import Declared, declared_view
from auditor.report.divergence import kl_by_kind, kl_histogram
from auditor.report.failures import STANDING
from auditor.report.findings import Findings, Row, Subject, suspects
from auditor.report.integrity import ListedFile, checksum_lines, listed_files, without_subjects
from auditor.report.judged import FigureSection, course_section, judged_parts
from auditor.report.licences import LICENCES, licensed_suites
from auditor.report.parts import Part
from auditor.report.plates import Plate
from auditor.report.samples import RULE, WITHHELD_RULE, Comparison, comparisons
from auditor.report.sections import sections
from auditor.report.withheld_notice import WithheldNotice, withheld_notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A measure on the first screen."""

    row: Row
    svg: Markup
    standing: str
    """Where the suspect lies among the controls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A numbered figure."""

    number: int
    plate: Plate


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group of measures: a table, and a figure where something is defined."""

    key: str
    title: str
    meaning: str
    rows: tuple[Row, ...]
    table_number: int
    exhibit: Exhibit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One section of the figures of what was judged, or why there is none."""

    part: FigureSection
    exhibits: tuple[Exhibit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleExhibit:
    """A numbered pair of replies."""

    number: int
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One report."""

    question: str
    reading: str
    ratios: tuple[str, ...]
    not_said: tuple[str, ...]
    command: str | None
    """The command that adds controls, where there are none."""
    suspect_argument: str
    """The suspect's specifier, quoted for a shell."""
    conclusion: dict[str, Any]
    cards: tuple[Card, ...]
    subjects: tuple[Subject, ...]
    reference: Subject
    suspect: Subject
    controls: tuple[Subject, ...]
    groups: tuple[Group, ...]
    judged: tuple[Judged, ...]
    where: tuple[Exhibit, ...]
    where_missing: str | None
    rule: str
    samples: tuple[SampleExhibit, ...]
    samples_missing: str | None
    course: Judged
    """Time line of the case; numbered last."""
    limits: tuple[str, ...]
    parts: Mapping[str, Part]
    """Sections of prose, by anchor."""
    plan: tuple[tuple[str, str], ...]
    declared: Declared | None
    """Of a planned audit."""
    withheld: WithheldNotice | None
    """Of a redacted case."""
    suites: tuple[dict[str, Any], ...]
    licences: str
    environment: tuple[tuple[str, str], ...]
    files: tuple[ListedFile, ...]
    checksums: str


class _Numbers:
    """Exhibit numbers, handed out in the order of the report."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """Return the next number, from 1."""
        self._last += 1
        return self._last


def report_view(findings: Findings, files: Sequence[ListedFile] | None = None) -> View:
    """Return the report on one suspect; `files` saves reading all files of the case again."""
    from auditor.pairing import load_pair

    names = findings.suspect.name, findings.reference.name
    pair = load_pair(findings.case, findings.reference.name, findings.suspect.name, alone=True)
    numbers = _Numbers()
    everything = listed_files(findings.case) if files is None else files
    others = set(suspects(findings.case)) - {findings.suspect.name}
    listed = tuple(without_subjects(everything, others))
    shown = comparisons(pair, findings.plan["seed"])
    why = pair.why or {}
    withheld = withheld_notice(findings.case)
    return View(
        **_first_screen(findings),
        subjects=(findings.reference, findings.suspect, *findings.controls),
        reference=findings.reference,
        suspect=findings.suspect,
        controls=findings.controls,
        groups=tuple(_groups(findings, numbers)),
        judged=tuple(_judged(findings, numbers)),
        where=tuple(_where(pair, findings.plan, numbers)),
        where_missing=None if pair.positions is not None else _reason(why, "positions"),
        rule=RULE if withheld is None else RULE + WITHHELD_RULE,
        samples=tuple(SampleExhibit(number=numbers.next(), comparison=c) for c in shown),
        samples_missing=None if shown else _reason(why, "texts"),
        course=_numbered(course_section(findings), numbers),
        limits=tuple(_limits(findings)),
        parts=sections(findings),
        plan=tuple(_plan_lines(findings.plan)),
        declared=declared_view(findings.case, names[0]),
        withheld=withheld,
        suites=licensed_suites(findings.case),
        licences=LICENCES,
        environment=tuple(item for item in flat(findings.environment) if item[0] != "schema"),
        files=listed,
        checksums=checksum_lines(list(listed)),
    )


def _first_screen(findings: Findings) -> dict[str, Any]:
    """Return the fields that are read before anything is opened."""
    names = findings.suspect.name, findings.reference.name
    specs = findings.suspect.ref["spec"], findings.reference.ref["spec"]
    conclusion = findings.conclusion
    return {
        "question": words.question(*names),
        "reading": words.reading_sentence(conclusion, *names),
        "ratios": tuple(words.ratio_sentences(conclusion, *names)),
        "not_said": tuple(words.not_said(conclusion, *names)),
        "command": None if findings.controls else words.what_to_add(*specs),
        "suspect_argument": shlex.quote(specs[0]),
        "conclusion": conclusion,
        "cards": tuple(_cards(findings)),
    }


def _reason(why: dict[str, str], field: str) -> str:
    return why.get(field, f"no {field} were collected for both models")


def _roles(findings: Findings) -> list[str]:
    return [control.role for control in findings.controls]


def _cards(findings: Findings) -> Iterator[Card]:
    roles = _roles(findings)
    for index, row in enumerate(findings.headlines):
        svg = plates.headline_strip(f"card{index}", row, roles)
        yield Card(row=row, svg=svg, standing=_standing(row))


def _standing(row: Row) -> str:
    values = row.control_numbers
    if not values:
        return "no controls to compare with"
    sign = 1 if row.closer == "higher" else -1
    closer = sum(sign * value < sign * (row.value or 0.0) for value in values)
    rank = f", rank p {words.number(row.rank_p, 2)}" if row.rank_p is not None else ""
    return f"closer than {closer} of {words.counted(len(values), 'control')}{rank}"


def _groups(findings: Findings, numbers: _Numbers) -> Iterator[Group]:
    for index, (group, rows) in enumerate(findings.groups.items()):
        table_number = numbers.next()
        plate = plates.group_plate(f"group{index}", group, rows, _roles(findings))
        yield Group(
            key=f"group-{index + 1}",
            title=words.GROUP_TITLES.get(group, group),
            meaning=words.GROUP_MEANINGS.get(group, ""),
            rows=tuple(rows),
            table_number=table_number,
            exhibit=None if plate is None else Exhibit(number=numbers.next(), plate=plate),
        )


def _judged(findings: Findings, numbers: _Numbers) -> Iterator[Judged]:
    for part in judged_parts(findings):
        yield _numbered(part, numbers)


def _numbered(part: FigureSection, numbers: _Numbers) -> Judged:
    exhibits = [Exhibit(number=numbers.next(), plate=plate) for plate in part.plates]
    return Judged(part=part, exhibits=tuple(exhibits))


def _where(pair: Pair, plan: dict[str, Any], numbers: _Numbers) -> Iterator[Exhibit]:
    if pair.positions is None:
        return
    suite_of = {probe: suite["name"] for suite in plan["suites"] for probe in suite["probes"]}
    suites = [suite_of[probe.id] for probe in pair.probes]
    both = [f"{name}: {p.category}" for name, p in zip(suites, pair.probes, strict=True)]
    categories = both if len(set(suites)) > 1 else [probe.category for probe in pair.probes]
    found = [
        plates.histogram_plate("positions", kl_histogram(pair.positions["kl_ab"])),
        plates.kind_plate("kinds", kl_by_kind(pair, suites), kl_by_kind(pair, categories)),
    ]
    for plate in found:
        if plate is not None:
            yield Exhibit(number=numbers.next(), plate=plate)


def _limits(findings: Findings) -> Iterator[str]:
    yield from findings.conclusion["limits"]
    for subject in (findings.reference, findings.suspect, *findings.controls):
        yield from (f"{subject.name}: {limit}" for limit in subject.limits)
        failed = subject.outcomes.get("error", 0)
        if failed:
            total = sum(subject.outcomes.values())
            yield f"{subject.name}: {failed} of {total} requests failed and enter no measure."
    undefined = [row.id for row in findings.rows if row.value is None]
    if undefined:
        yield (
            f"{words.counted(len(undefined), 'measure is', 'measures are')} undefined "
            f"({', '.join(undefined)}): missing is not zero, and says nothing either way."
        )
    yield "Intervals cover the choice of probes, not the choice of models."
    yield "An audit shows what the models did on these probes; the digests show what was examined."
    yield from STANDING


def _plan_lines(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    decoding = plan["decoding"]
    greedy = decoding["temperature"] == 0
    yield "Command", f"auditor {plan['command']}"
    yield "Access allowed", plan["access"]
    yield "Seed", str(plan["seed"])
    yield "Replies to each probe", str(plan["repeats"])
    yield "Longest reply", f"{decoding['max_new_tokens']} tokens"
    how = "greedy" if greedy else f"temperature {words.number(decoding['temperature'])}"
    if not greedy:
        how += f", top-p {words.number(decoding['top_p'])}, top-k {decoding['top_k'] or 'off'}"
    yield "Decoding", how
    yield "System message", plan.get("system") or "none but those of the probes"
    yield "Tokens in a batch", f"{plan['batch_tokens']:,}"
    yield "Device", plan["device"] or "the fastest there was"
    yield "Number type", plan["dtype"] or "the usual one of the device"
    yield "Sentence encoder", plan["encoder"] or "none"


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value as text) of nested JSON, keys sorted."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from flat(value[key], f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, ", ".join(str(item) for item in value) or "none"
    else:
        yield prefix, "none" if value is None else str(value)
