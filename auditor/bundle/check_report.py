"""The report rendered again (V11): byte for byte what is in the sealed case."""

from auditor.bundle.check import Check, judged, skipped
from auditor.bundle.evidence import source_digest
from auditor.case import Case
from auditor.report.integrity import listed
from auditor.report.render import rendered


def check_report(case: Case) -> Check:
    """V11: reports and results are what the stored JSON gives; skipped under another release.

    A report lists files with their digests: here those of the index, which V02 and V04 hold against
    the files themselves.
    """
    index = case.read_json("evidence.json")
    entries = {name: (one["bytes"], one["sha256"]) for name, one in index["files"].items()}
    changed = [
        f"data/{name} is not what the stored files give"
        for name, content in rendered(case, listed(entries))
        if (case.data / name).read_bytes() != content
    ]
    tool = index["tool"]
    if changed and tool["source_digest"] != source_digest():
        return skipped("V11", f"rendered by another build, auditor {tool['version']}", *changed)
    return judged("V11", changed)
