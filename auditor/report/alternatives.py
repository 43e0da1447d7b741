"""Rival explanations of a finding, and whether this case has what would tell them apart."""

from collections.abc import Iterator

from auditor.report.findings import Findings
from auditor.report.matter import families_of
from auditor.report.parts import Grid, Part, listed

_INTRODUCTION = (
    "Each of these looks like one of the propositions and is another thing. “Controlled” means "
    "that this case holds a model or a test that would show it; “open” that it does not, so that "
    "the question has to be answered from elsewhere."
)
Row = tuple[str, str, str, str]


def alternatives_part(findings: Findings) -> Part:
    """Return the table of rival explanations."""
    return Part(
        key="alternatives",
        title="Alternative explanations considered",
        paragraphs=(_INTRODUCTION,),
        grids=(
            Grid(
                caption="Rival explanations",
                columns=("Explanation", "Looks like", "What tells it apart", "In this case"),
                rows=tuple(_rows(findings)),
            ),
        ),
    )


def _rows(findings: Findings) -> Iterator[Row]:
    yield from _common_origins(findings)
    yield from _other_mechanisms(findings)


def _common_origins(findings: Findings) -> Iterator[Row]:
    """Yield what gives likeness without training on the reference."""
    independent = families_of(findings, "independent")
    yield (
        "Outputs of the reference in public data",
        "imitation",
        "independent models with later cut-off dates; probes that are in no public set",
        f"Partly controlled: {independent} of role independent. Their cut-off dates are not in "
        "the case: confirm that they are later."
        if _has(findings, "independent")
        else "Open: there is no independent control.",
    )
    yield (
        "A base model that both come from",
        "replication, agreement of probabilities",
        "the base itself and other models made from it, as controls",
        _controlled(findings, "base", "name it with --base, or as “base” in the plan"),
    )
    yield (
        "A third teacher of both, or a sibling of the reference",
        "imitation of the reference",
        "students of that teacher and of siblings, as controls",
        _controlled(findings, "sibling", "add a student of another teacher with role sibling"),
    )
    yield (
        "The same tokenizer, template or style norms",
        "alike texts and probabilities",
        "controls with the same tokenizer; scores that are relative to controls",
        _tokenizers(findings),
    )


def _other_mechanisms(findings: Findings) -> Iterator[Row]:
    """Yield other ways in which one model follows another, or seems not to."""
    yield (
        "The reference imitated the suspect",
        "imitation, reversed",
        "release dates, access logs, marks placed before training",
        _direction(findings),
    )
    yield (
        "The suspect passes requests on to the reference",
        "replication",
        "weights of the suspect; equality of distributions; latency and served names",
        _passed_on(findings),
    )
    yield (
        "The suspect says that it is another model",
        "imitation",
        "nothing: such claims are common in public data",
        "Not used: no measure counts what a model says of itself.",
    )
    yield (
        "Laundering: paraphrase, mixing, further training",
        "independence",
        "the dose of imitation that would have been seen",
        _laundering(findings),
    )


def _has(findings: Findings, role: str) -> bool:
    return any(control.role == role for control in findings.controls)


def _controlled(findings: Findings, role: str, remedy: str) -> str:
    if not _has(findings, role):
        return f"Open: no control of role {role}; {remedy}."
    names = [control.name for control in findings.controls if control.role == role]
    shown = listed(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"Controlled: {families_of(findings, role)} of role {role} ({shown})."


def _direction(findings: Findings) -> str:
    planned = {one["suspect"] for one in findings.plan.get("marks", ())}
    if findings.suspect.name in planned:
        return "Controlled: marks were looked for, see “Marks”; they have a direction."
    return "Open: similarity has no direction, and no marks were looked for."


def _tokenizers(findings: Findings) -> str:
    digest = findings.suspect.ref["tokenizer_digest"]
    if digest is None:
        return "Open: the suspect's tokenizer was not observed."
    same = [c for c in findings.controls if c.ref["tokenizer_digest"] == digest]
    shared = digest == findings.reference.ref["tokenizer_digest"]
    both = "Suspect and reference have the same tokenizer" if shared else "The tokenizers differ"
    if not findings.controls:
        return f"Open: {both[0].lower()}{both[1:]}, and there are no controls."
    state = "Controlled" if same or not shared else "Open"
    return f"{state}: {both}; {len(same)} of {len(findings.controls)} controls have the suspect's."


def _passed_on(findings: Findings) -> str:
    if findings.suspect.ref["access"] == "WEIGHTS":
        return "Controlled: the suspect's own weights were examined, under the digest above."
    tested = [row for row in findings.rows if row.group == "identity" and row.value is not None]
    if tested:
        names = listed([f"{row.title} ({row.id})" for row in tested[:3]])
        return f"Partly controlled: the suspect's weights were not observed; see {names}."
    return "Open: the suspect's weights were not observed and no test of equality is defined."


def _laundering(findings: Findings) -> str:
    power = findings.conclusion["power"]
    if power is not None:
        return f"Controlled for the controls' recipe of imitation: {power['sentence']}"
    return "Open: the power of this case is not known, so a finding of no link says little."
