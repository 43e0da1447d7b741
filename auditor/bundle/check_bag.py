"""BagIt manifests (V03) and the closed world (V04)."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from auditor.bundle.bag import DECLARATION, MANIFEST, TAG_FILES, TAG_MANIFEST
from auditor.bundle.check import Check, judged
from auditor.bundle.evidence import FILE
from auditor.bundle.scan import Scanned

_LINE = re.compile(r"([0-9a-f]{64})  ([^\r\n]+)")
_SIGNATURE = re.compile(r"signatures/[a-z][a-z0-9-]{0,31}(\.opinion)?\.sigstore\.json")


def check_bag(root: Path, scanned: Mapping[str, Scanned]) -> Check:
    """V03: the four tag files are there, and both manifests list what was read, to the byte."""
    return judged("V03", _bag_faults(root, scanned))


def _bag_faults(root: Path, scanned: Mapping[str, Scanned]) -> Iterator[str]:
    missing = [name for name in TAG_FILES if name not in scanned]
    if missing:
        yield from (f"{name} is missing" for name in missing)
        return
    if (root / "bagit.txt").read_bytes() != DECLARATION:
        yield "bagit.txt is not that of BagIt 1.0 in UTF-8"
    payload = {name for name in scanned if name.startswith("data/")}
    yield from _manifest_faults(root, MANIFEST, payload, scanned)
    yield from _manifest_faults(root, TAG_MANIFEST, set(TAG_FILES[:3]), scanned)
    octets = sum(scanned[name].size for name in payload)
    info = (root / "bag-info.txt").read_text(encoding="utf-8").splitlines()
    if [line for line in info if line.startswith("Payload-Oxum:")] != [
        f"Payload-Oxum: {octets}.{len(payload)}"
    ]:
        yield f"bag-info.txt: Payload-Oxum is not {octets}.{len(payload)}"


def _manifest_faults(
    root: Path, manifest: str, wanted: set[str], scanned: Mapping[str, Scanned]
) -> Iterator[str]:
    listed: dict[str, str] = {}
    for line in (root / manifest).read_bytes().decode("utf-8").removesuffix("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in listed:
            yield f"{manifest}: {line!r} is malformed, or there twice"
        else:
            listed[match[2]] = match[1]
    for name in sorted(listed.keys() - wanted):
        yield f"{manifest} lists {name}, which is not there"
    for name in sorted(wanted):
        if listed.get(name, scanned[name].sha256) != scanned[name].sha256:
            yield f"{name} is not the file that {manifest} lists"
        elif name not in listed:
            yield f"{manifest} does not list {name}"


def check_closed(listed: Mapping[str, object], scanned: Mapping[str, Scanned]) -> Check:
    """V04: nothing is there but the tag files, the indexed payload and signatures.

    Args:
        listed: ``files`` of evidence.json.
        scanned: every file that is there.
    """
    allowed = {*TAG_FILES, f"data/{FILE}", *(f"data/{name}" for name in listed)}
    extra = [n for n in sorted(scanned) if n not in allowed and not _SIGNATURE.fullmatch(n)]
    return judged(
        "V04",
        [
            *(f"{name} is in no list" for name in extra),
            *(f"{name} is not there" for name in sorted(allowed - set(scanned))),
        ],
    )
