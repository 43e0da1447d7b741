"""The report rendered again (V11): byte for byte what is in the sealed case."""

from collections.abc import Mapping

from auditor.bundle.check import Check, judged, skipped
from auditor.bundle.evidence import source_digest
from auditor.bundle.scan import Scanned
from auditor.case import Case
from auditor.report.integrity import listed
from auditor.report.render import rendered


def check_report(case: Case, scanned: Mapping[str, Scanned]) -> Check:
    """V11: reports and results are what the stored JSON gives; skipped under another release."""
    inside = {name[5:]: one for name, one in scanned.items() if name.startswith("data/")}
    files = listed({name: (one.size, one.sha256) for name, one in inside.items()})
    changed = [
        f"data/{name} is not what the stored files give"
        for name, content in rendered(case, files)
        if (case.data / name).read_bytes() != content
    ]
    tool = case.read_json("evidence.json")["tool"]
    if changed and tool["source_digest"] != source_digest():
        return skipped("V11", f"rendered by another build, auditor {tool['version']}", *changed)
    return judged("V11", changed)
