"""Drafts of legal papers over a sealed case: facts filled in, statements left to a person.

Federal Rules of Evidence 902(13) and 902(14) (certificates of a process and of a copy), 702
(December 2023) and Federal Rule of Civil Procedure 26(a)(2)(B) (checklists). What the case does
not show stays a marked blank: a tool can neither be qualified nor swear. No legal advice.
"""

from pathlib import Path

from auditor.bundle.facts import facts
from auditor.report.templates import markdown_templates

RULES = ("902-13", "902-14", "702", "frcp-26")


def certificate(root: Path, rule: str) -> str:
    """Return the draft for a rule (one of `RULES`) as Markdown, after reading every file.

    Raises:
        CaseError: the folder is not a sealed case, or is not as it was sealed.
    """
    return markdown_templates().get_template(f"certify-{rule}.md.j2").render(f=facts(root))
