"""A sealed case whose replies are known word for word, to be withheld; and who covers changes."""

import base64
import html
import json
from collections.abc import Iterator
from pathlib import Path

from auditor.audit import audit
from auditor.bundle.bag import write_tags
from auditor.bundle.evidence import media_type, payload_names, role
from auditor.bundle.redact import plan_redaction, redact
from auditor.bundle.rules import parse_rule
from auditor.bundle.scan import Scanned, scan
from auditor.canon import pretty_json
from auditor.case import Case
from auditor.collect.suite import load_suite, select_probes
from auditor.plan import AuditRequest, ControlSpec
from auditor.types import Access, Decoding
from auditor.withheld import withheld_lines

SUITES = ("instructions", "ood")
PROBES, REPEATS, SEED = 6, 2, 0
ENCODER = "all-MiniLM-L6-v2"


def secret_text(probe: str, repeat: int) -> str:
    """Return a reply that occurs nowhere else; some bytes look different where they are escaped."""
    return f'Zebra <{probe}> "number {repeat}" caf\u00e9 & \u4e2d\u6587 of {probe}'


def told_case(root: Path) -> Case:
    """Return a finished case: a suspect of known replies, one of which failed, and a model."""
    chosen = select_probes([load_suite(name) for name in SUITES], PROBES, SEED)
    asked = [probe.id for _, probes in chosen for probe in probes]
    rows = [
        {"probe_id": probe, "repeat": repeat, "text": secret_text(probe, repeat)}
        for probe in asked
        for repeat in range(REPEATS)
    ]
    root.mkdir(parents=True)
    file = root / "told.jsonl"
    # The last one was never given: its record holds an error, and errors.jsonl lists it.
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:-1]))
    request = AuditRequest(
        command="scan",
        reference="tiny:teacher",
        suspects=(f"records:{file}", "tiny:independent"),
        controls=(ControlSpec(spec="tiny:sibling"), ControlSpec(spec="tiny:zoo/same-data-00")),
        suites=SUITES,
        access=Access.WEIGHTS,
        probes=PROBES,
        repeats=REPEATS,
        seed=SEED,
        decoding=Decoding(max_new_tokens=8),
        encoder=ENCODER,
    )
    return audit(request, root / "case")


def redacted(sealed: Path, target: Path, *rules: str, key=None) -> Path:
    """Return the copy of a sealed case without what the rules name."""
    wanted = plan_redaction(sealed, [parse_rule(rule) for rule in rules])
    return redact(wanted, target, key).root


def rows_of(sealed: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield (file below data/, index, line without newline) of every record line."""
    data = sealed / "data"
    for path in sorted((data / "records").rglob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines()):
            yield path.relative_to(data).as_posix(), number, line


def withheld_rows(sealed: Path, copy: Path) -> list[dict]:
    """Return the lines of the original that a copy does not show, parsed."""
    hidden = withheld_lines(Case(copy))
    return [
        json.loads(line) for name, number, line in rows_of(sealed) if number in hidden.get(name, {})
    ]


def forms_of(text: str) -> list[bytes]:
    """Return how a text could stand in a file: as it is, escaped, and in base64 at any offset."""
    plain = text.encode()
    found = [
        plain,
        json.dumps(text)[1:-1].encode(),
        json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        html.escape(text).encode(),
        text.encode("utf-16-le"),
    ]
    # Whole groups of 3 bytes only: what stands before and after is unknown.
    found += [
        base64.b64encode(plain[skip : skip + 3 * ((len(plain) - skip) // 3)]) for skip in range(3)
    ]
    return found


def resealed_copy(root: Path) -> None:
    """Make index and manifests of a redacted case anew, as somebody who covers a change would.

    Broken chains are indexed too.
    """
    evidence = json.loads((root / "data/evidence.json").read_bytes())
    names = [name for name in payload_names(root / "data") if name != "evidence.json"]
    found = scan(root, {f"data/{name}": (root / "data" / name).stat().st_size for name in names})
    evidence["files"] = {name: _entry(name, found[f"data/{name}"]) for name in names}
    (root / "data/evidence.json").write_bytes(pretty_json(evidence))
    write_tags(root, evidence)


def _entry(name: str, found: Scanned) -> dict:
    tree = ("lines", "merkle_root", "last") if found.lines is not None else ()
    plain = {"role": role(name), "media_type": media_type(name)}
    plain |= {"sha256": found.sha256, "bytes": found.size}
    return plain | {key: getattr(found, key) for key in tree}


def lines_below(root: Path, name: str) -> list[bytes]:
    """Return the lines of a file below data/, without newlines."""
    return (root / "data" / name).read_bytes().splitlines()


def write_lines(root: Path, name: str, lines: list[bytes]) -> None:
    """Write them."""
    (root / "data" / name).write_bytes(b"".join(line + b"\n" for line in lines))
