"""A page for reviewers under the EU AI Act: evidence for and against an undeclared teacher.

Article 53(1)(a), (b) and (d) of Regulation (EU) 2024/1689, Annexes XI and XII, and the template for
the public summary of training content (Commission, 24 July 2025). Points are named in our own
words. Designed to support a review; it decides nothing about an obligation. No legal advice.
"""

from collections.abc import Iterator

from auditor.canon import file_digest, json_digest
from auditor.case import Case
from auditor.report import words
from auditor.report.compliance_fields import fields
from auditor.report.findings import Findings, Row, read_findings, read_subjects, suspects
from auditor.report.matter import calibrated_population, families_by_role, matter_part
from auditor.report.parts import Grid, Part
from auditor.report.templates import html_templates, markdown_templates

PROFILE = "eu-gpai"
PROFILES = (PROFILE,)
TITLE = "Evidence for and against an undeclared teacher"
INTRODUCTION = (
    "Designed to support a review of what the provider of a general-purpose AI model states about "
    "its training: Article 53(1)(a), (b) and (d) of Regulation (EU) 2024/1689 (AI Act), Annexes XI "
    "and XII, and the template for the public summary of training content.",
    "It does not say that a provider meets or fails an obligation, and it is not legal advice. "
    "Outputs of another model are, in these documents, synthetic training data: this page says "
    "what an examination of the models shows about them, and what it cannot show.",
)
CANNOT = (
    "Which data a model was trained on, apart from what its behaviour or its weights show.",
    "Whether the use of another model's outputs was permitted, licensed or declared elsewhere.",
    "Which model came first, unless marks placed before training were found.",
    "Outputs of a model that are spread in public data can be in the training data unintendedly.",
    "A dose of imitation under the one that would have been seen stays unseen.",
)


def profile_names(profile: str) -> tuple[str, str]:
    """Return the file names of a profile's pages in a case: HTML and Markdown."""
    return f"report.{profile}.html", f"report.{profile}.md"


def declared_profile(case: Case) -> str | None:
    """Return the profile that the plan of a case asks for; None where it asks for none."""
    found: str | None = (
        case.read_json("plan.json").get("declared", {}).get("plan", {}).get("profile")
    )
    return found


def profile_pages(case: Case) -> dict[str, str]:
    """Return {"html": page, "md": page} on every suspect, from the files of a judged case.

    Raises:
        CaseError: the case is not judged.
    """
    subjects = read_subjects(case)
    everything = [read_findings(case, name, subjects) for name in suspects(case)]
    content = {
        "title": TITLE,
        "introduction": INTRODUCTION,
        "parts": [
            matter_part(case.read_json("plan.json")),
            *(part for findings in everything for part in _parts(findings)),
            Part(key="cannot", title="What no examination of this kind can say", points=CANNOT),
            _basis(case),
        ],
    }
    return {
        "html": html_templates().get_template("compliance.html.j2").render(**content),
        "md": markdown_templates().get_template("compliance.md.j2").render(**content),
    }


def _parts(findings: Findings) -> Iterator[Part]:
    names = findings.suspect.name, findings.reference.name
    conclusion = findings.conclusion
    key = f"suspect-{suspects(findings.case).index(names[0]) + 1}"
    found = list(_evidence(findings))
    yield Part(
        key=key,
        title=f"{names[0]}: was {names[1]} an undeclared teacher?",
        paragraphs=(words.reading_sentence(conclusion, *names),),
        facts=(
            ("Reading", conclusion["reading"]),
            ("Cap", conclusion["cap"] or "none stated"),
            ("Control families", families_by_role(findings)),
            ("Calibrated population", calibrated_population(findings)),
        ),
        grids=(
            Grid(
                caption=f"Evidence on {names[0]}, for and against",
                columns=("Finding", "Speaks"),
                rows=tuple(found) or (("none: there are no controls", "neither way"),),
            ),
        ),
        points=tuple(words.not_said(conclusion, *names)),
    )
    yield Part(
        key=f"{key}-fields",
        title=f"{names[0]}: field by field",
        grids=(
            Grid(
                caption=f"What is to be stated, and what this case holds on {names[0]}",
                columns=("Field", "This case holds", "It cannot say"),
                rows=tuple(fields(findings)),
            ),
        ),
    )


def _evidence(findings: Findings) -> Iterator[tuple[str, str]]:
    """Yield each finding with its direction; ratios both ways, ranks of the first measures."""
    conclusion = findings.conclusion
    names = findings.suspect.name, findings.reference.name
    ratios = sorted((conclusion["log10_lr"] or {}).items())
    for (pair, log10_lr), sentence in zip(
        ratios, words.ratio_sentences(conclusion, *names), strict=True
    ):
        first, second = pair.split(":")
        for_, over = (first, second) if log10_lr > 0 else (second, first)
        yield sentence, f"for {for_} over {over}" if log10_lr else "neither way"
    for row in findings.headlines:
        if row.control_numbers:
            yield _standing(row)
    if conclusion["power"]:
        yield conclusion["power"]["sentence"], "how much a finding of no link weighs"


def _standing(row: Row) -> tuple[str, str]:
    sign = 1 if row.closer == "higher" else -1
    value, others = row.value or 0.0, row.control_numbers
    closer = sum(sign * other < sign * value for other in others)
    said = (
        f"{row.title} ({row.id}): closer to the reference than {closer} of {len(others)} controls"
    )
    return said, "for a link" if closer == len(others) else "not for a link: inside the controls"


def _basis(case: Case) -> Part:
    digests = [(name, file_digest(case.data / name)) for name in ("statistics.json",)]
    digests.append(("conclusion.json", file_digest(case.data / "conclusion.json")))
    return Part(
        key="basis",
        title="What this page rests on",
        facts=(("Case, as digest of its plan", json_digest(case.read_json("plan.json"))), *digests),
        closing=(
            "Every number is in those files, each with the id shown. The full report of the case "
            "has methods, error rates and limits. A student distilled by this program has a "
            "lineage.json, which states its teacher, dose and data directly.",
        ),
    )
