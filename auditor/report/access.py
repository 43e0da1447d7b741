"""What the access to the suspect can support, what more would need, and what each access sees."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from auditor.report.findings import Findings, Row
from auditor.report.matter import calibrated_population
from auditor.report.parts import Cell, Grid, Part
from auditor.report.words import number
from auditor.stored import read_array

_STATEMENTS = (
    (
        "Whether it is the very same model",
        ("equality-mmd", "equality-rank"),
        "TEXT, several replies to each probe",
    ),
    (
        "Whether its own words favour the reference beyond independent models: a link, copy and "
        "imitation not told apart",
        ("sample-llr",),
        "TEXT; LOGITS of the reference and of controls",
    ),
    (
        "Whether its likely next words are nearer to the reference's than to any control's",
        ("divergence-gap",),
        "TOPK of given texts (echo); controls with the reference's tokenizer",
    ),
    (
        "Whether it follows the reference where the reference is unlike the controls",
        ("idiosyncratic-agreement",),
        "TOPK of given texts (echo), or LOGITS; the reference's tokenizer",
    ),
    (
        "Whether it begins its replies as the reference does where the reference is unlike the "
        "controls (context: no reading rests on it)",
        ("first-token-agreement", "first-token-gap"),
        "TOPK beside its own replies; the reference's tokenizer",
    ),
    (
        "Whether it departs from the controls where the reference does, in its own replies "
        "(context: no reading rests on it)",
        ("own-residual-correlation",),
        "TOPK beside its own replies, any tokenizer; LOGITS of the reference and of controls",
    ),
    (
        "Whether imitation was learned from text or from probabilities",
        ("unembedding-span",),
        "LOGITS of many positions, or WEIGHTS",
    ),
    (
        "Whether its weights derive from the reference's",
        ("neuron-matching", "rederived-share"),
        "WEIGHTS",
    ),
)
_POWER = (
    "Measured on the locked half of each shipped pack, at the threshold of the rules: beyond every "
    "control family by a decisive test of that access, predictive p under 0.01; at WEIGHTS, read "
    "as linked. A linked family counts as seen where all of its models are, one without a link "
    "where any is. At TEXT, TOPK and LOGITS “seen” is a link: copy and imitation are told apart by "
    "weights alone. TOPK is counted without given texts (echo): with them it has the decisive "
    "tests, and sees the models, of LOGITS. The limits are exact for so many families (Clopper and "
    "Pearson, 95 %)."
)
_ELSEWHERE = (
    "This case is not of the packs' population, so these are figures of other models and not the "
    "power of this case: they show what more access is worth."
)
_LISTED = {"topk": "the reference's text", "answers": "the first token of each reply"}
"""Arrays of lists: what they are about."""
_TAIL = (
    "Lists of likely tokens cut a distribution off. What stands outside the list enters as one "
    "bucket, as favourably to equality as the lists allow: the more there is, the less a "
    "divergence can show."
)


def access_part(findings: Findings) -> Part:
    """Return the table of statements, the power by access, and what lists of tokens leave out."""
    power = list(_power_grids(findings))
    within = findings.conclusion["log10_lr"] is not None
    lists = _lists(findings)
    return Part(
        key="access",
        title="What this access can support",
        facts=(
            ("Access to the suspect", findings.suspect.ref["access"]),
            ("Access to the reference", findings.reference.ref["access"]),
            ("Calibrated population", calibrated_population(findings)),
        ),
        grids=(
            Grid(
                caption="Statements, and the access that each needs",
                columns=("Statement", "Needs, of the suspect", "In this case"),
                rows=tuple(_statements(findings)),
            ),
            *power,
            *((lists,) if lists.rows else ()),
        ),
        closing=(
            *((_POWER,) if power else ()),
            *((_ELSEWHERE,) if power and not within else ()),
            *((_TAIL,) if lists.rows else ()),
        ),
    )


def _statements(findings: Findings) -> Iterator[tuple[Cell, ...]]:
    rows = {row.name: row for row in findings.rows}
    for statement, measures, needed in _STATEMENTS:
        yield statement, needed, _state([rows[name] for name in measures if name in rows])


def _state(rows: list[Row]) -> str:
    if not rows:
        return "No: not measured in this case."
    defined = [row for row in rows if row.value is not None]
    if not defined:
        return f"No: {rows[0].undefined} ({rows[0].id})."
    return "Yes: " + ", ".join(f"{row.title} ({row.id})" for row in defined) + "."


def _power_grids(findings: Findings) -> Iterator[Grid]:
    """Yield the table of each pack, as the case keeps it."""
    for found in findings.judged.get("access", []):
        yield Grid(
            caption=f"Power by access, pack {found['pack']}",
            columns=(
                "Access", "Decided by", "Models", "Seen", "Families seen", "Share", "95 % from",
                "to",
            ),
            rows=tuple(map(_power_row, found["rows"])),
        )  # fmt: skip


def _power_row(row: dict[str, Any]) -> tuple[Cell, ...]:
    families, (seen, models) = row["families"], row["seen"]
    low, high = families["interval"]
    return (
        row["access"],
        ", ".join(name.partition("@")[0] for name in row["tests"]),
        row["models"],
        f"{seen} of {models}",
        f"{families['count']} of {families['families']}",
        *(float(value) for value in (families["value"], low, high)),
    )


def _lists(findings: Findings) -> Grid:
    """Return how much each subject's lists of likely tokens leave out."""
    subjects = (findings.reference, findings.suspect, *findings.controls)
    rows = [_list_row(findings, s.name, of) for of in _LISTED for s in subjects]
    return Grid(
        caption="Lists of likely tokens: what they leave out",
        columns=(
            "Model", "Of", "Positions", "Not shown", "Tokens listed", "Mean probability outside",
        ),
        rows=tuple(row for row in rows if row is not None),
    )  # fmt: skip


def _list_row(findings: Findings, name: str, of: str) -> tuple[Cell, ...] | None:
    found = read_array(findings.case, of, name)
    if found is None or not len(found):
        return None
    unknown = int((found["ids"] < 0).all(axis=1).sum())
    return (
        name,
        _LISTED[of],
        f"{len(found):,}",
        f"{unknown:,}",
        number(float((found["ids"] >= 0).sum() / max(1, len(found) - unknown)), 3),
        number(float(np.mean(found["tail"])), 3),
    )
