"""The report rendered again (V11): byte for byte what is in the sealed case."""

from auditor.bundle.check import Check, judged, skipped
from auditor.bundle.evidence import source_digest
from auditor.case import Case
from auditor.report.render import rendered


def check_report(case: Case) -> Check:
    """V11: reports and results are what the stored JSON gives; skipped under another release."""
    changed = [
        f"data/{name} is not what the stored files give"
        for name, content in rendered(case)
        if (case.data / name).read_bytes() != content
    ]
    tool = case.read_json("evidence.json")["tool"]
    if changed and tool["source_digest"] != source_digest():
        return skipped("V11", f"rendered by another build, auditor {tool['version']}", *changed)
    return judged("V11", changed)
