"""Checklists for a person to go through, filled with what the case shows. No legal advice.

Questions are in our own words. What a case cannot show is left to confirm: a program can neither
be qualified nor swear. `auditor certify` drafts the papers over a sealed case.
"""

from collections.abc import Iterator

from auditor.report.findings import Findings
from auditor.report.matter import families_by_role
from auditor.report.parts import Grid, Part, listed
from auditor.report.words import counted

_INTRODUCTION = (
    "Designed to support work under these rules; nothing here says that a report or a laboratory "
    "complies with them. A box is for the person who confirms the line. Not legal advice."
)
BOX = "☐"
Rows = Iterator[tuple[str, str]]


def checklists_part(findings: Findings) -> Part:
    """Return the three checklists."""
    lists = (
        ("Expert testimony: US Federal Rule of Evidence 702 (December 2023)", _rule_702(findings)),
        ("Expert report: US Federal Rule of Civil Procedure 26(a)(2)(B)", _frcp_26(findings)),
        ("Forensic report: ISO 21043-5:2025, headings in our words", _iso_21043(findings)),
    )
    return Part(
        key="checklists",
        title="Checklists",
        paragraphs=(_INTRODUCTION,),
        grids=tuple(
            Grid(
                caption=caption,
                columns=("Point", "What this case shows", "Confirmed"),
                rows=tuple((*row, BOX) for row in rows),
            )
            for caption, rows in lists
        ),
    )


def _rule_702(findings: Findings) -> Rows:
    access = findings.suspect.ref["access"]
    yield (
        "Helps the trier of fact, decides no ultimate issue (a)",
        "A reading with ranks or ratios and its limits; nothing on intent, permission or law",
    )
    yield (
        "Sufficient facts or data (b)",
        f"{_replies(findings)}; controls: {families_by_role(findings)}; "
        f"{_power(findings)}; to confirm: that this is enough for the question",
    )
    yield "Method tested (c)", f"{_validated(findings)}; the statistics can be recomputed"
    yield "Known or potential error rate", f"{_validated(findings)}; {_cap(findings)}"
    yield "Standards that control the operation", _standards(findings)
    yield (
        "Peer review and publication",
        "Sources of each measure: auditor measures NAME; to confirm: none is named for measures "
        "that are new in this program",
    )
    yield (
        "General acceptance",
        "Established: likelihood ratios, Cllr, permutation and rank tests. Emerging: agreement of "
        "probabilities and representations. New: control-adjusted scores of this program",
    )
    yield (
        "Reliable application to this case (d)",
        f"Access to the suspect {access}, to the reference {findings.reference.ref['access']}; "
        "to confirm: that the controls match suspect and reference in size, data and date",
    )
    yield "Authentic (901, 902)", "Digests below; drafts: auditor certify --rule 902-13, 902-14"


def _frcp_26(findings: Findings) -> Rows:
    suspects = [s["name"] for s in findings.plan["subjects"] if s["role"] == "suspect"]
    yield "(i) Opinions with basis and reasons", f"{_reading(findings)}; the witness's own words"
    yield (
        "(ii) Facts or data considered",
        f"Every file under “Check the files”, {_replies(findings)}, failed ones among them; "
        "anything considered outside of the case",
    )
    yield "(iii) Exhibits", "The numbered exhibits of this report; others"
    yield "(iv) Qualifications, publications of 10 years", "To be stated by the witness"
    yield "(v) Testimony of 4 years", "To be stated by the witness"
    yield "(vi) Compensation", "To be stated by the witness"
    yield "Other suspects, with negative results", f"In this case: {listed(suspects)}; others"
    yield "Departures from the plan", _standards(findings)


def _iso_21043(findings: Findings) -> Rows:
    yield (
        "General: clear, complete, impartial (4)",
        "What speaks against a link is shown as what speaks for it",
    )
    yield (
        "Administrative content (5.2)",
        "“Matter and instructions”; to add: issuer, date, page and report number, signature",
    )
    yield "Integrity of items (5.3)", "Digests under “Items examined” and “Check the files”"
    yield (
        "Measurement uncertainty, significant figures (5.4)",
        "95 % intervals over probes; exact values are in statistics.json",
    )
    yield (
        "Opinions: propositions, basis, limits (5.5.1)",
        "“Propositions and population”, the first screen, “Limits”",
    )
    yield "Probabilities (5.5.2)", "None of a proposition is stated; p-values are of findings"
    yield (
        "Likelihood ratios (5.5.3)",
        f"{_ratios(findings)}; {_cap(findings)}; words by a published scale",
    )
    yield "Estimates (5.5.4)", _dose(findings)
    yield "Review of case file and report (6)", "To be done by a second person; counter-signature"
    yield "Issue and control of the report", "The seal and its signatures; to confirm: versions"


def _replies(findings: Findings) -> str:
    subjects = (findings.reference, findings.suspect, *findings.controls)
    count = sum(sum(subject.outcomes.values()) for subject in subjects)
    return f"{counted(count, 'recorded request')} to {counted(len(subjects), 'model')}"


def _power(findings: Findings) -> str:
    return "power is stated" if findings.conclusion["power"] else "power is not known"


def _validated(findings: Findings) -> str:
    known = findings.conclusion.get("error_rates")
    return "“Validation and error rates”" if known else "No error rate is known for this case"


def _cap(findings: Findings) -> str:
    return f"cap: {findings.conclusion['cap'] or 'none stated'}"


def _standards(findings: Findings) -> str:
    declared = findings.plan.get("declared")
    rules = findings.plan.get("rules", {}).get("rules", "not stated")
    if declared is None:
        return f"Reading rules {rules}; no plan was declared beforehand"
    locked = "locked" if declared["lock"] else "not locked"
    return f"Reading rules {rules}; plan declared and {locked}; “Plan and deviations”"


def _reading(findings: Findings) -> str:
    return f"Reading {findings.conclusion['reading']}: {findings.conclusion['basis']}"


def _ratios(findings: Findings) -> str:
    ratios = findings.conclusion["log10_lr"]
    return f"{counted(len(ratios), 'ratio')} on the first screen" if ratios else "None is stated"


def _dose(findings: Findings) -> str:
    return "Dose on the first screen" if findings.conclusion["dose"] else "None is stated"
