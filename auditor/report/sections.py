"""The sections of prose of a report, by the name that the templates know them by."""

from collections.abc import Mapping

from auditor.report.access import access_part
from auditor.report.alternatives import alternatives_part
from auditor.report.checklists import checklists_part
from auditor.report.failures import failures_part
from auditor.report.findings import Findings
from auditor.report.matter import matter_part, propositions_part
from auditor.report.parts import Part
from auditor.report.validation import robustness_part, validation_part


def sections(findings: Findings) -> Mapping[str, Part]:
    """Return every section of prose on one suspect, by its anchor."""
    found = (
        matter_part(findings.plan),
        propositions_part(findings),
        validation_part(findings),
        robustness_part(findings),
        access_part(findings),
        alternatives_part(findings),
        failures_part(findings),
        checklists_part(findings),
    )
    return {part.key: part for part in found}
