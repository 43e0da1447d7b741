"""Redaction: a sealed copy of a sealed case without some record lines, which proves all others.

The copy holds the original's index, payload manifest and signatures in ``data/parent/``. Untouched
files have the digests of that index; of a record file with withheld lines, the shown lines and the
leaf hashes of the others give its Merkle root, number of lines and last line. Files that would
tell of a withheld reply are left out whole. Reports are rendered again. The original stays as it
was.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import auditor
from auditor.bundle.bag import MANIFEST, is_bag, manifest_digest
from auditor.bundle.evidence import FILE, Origin, index, role
from auditor.bundle.rules import Rule, Selection, select
from auditor.bundle.seal import part_of, publish
from auditor.bundle.signature import FOLDER, check_role, sign_case
from auditor.bundle.verify import verify
from auditor.bundle.withholding import files_to_withhold, still_holding
from auditor.canon import canonical_json, pretty_json
from auditor.case import Case, atomic_stream, atomic_write, storage_errors
from auditor.errors import AuditorError, CaseError
from auditor.stored import chained_lines
from auditor.withheld import PARENT, REDACTION, placeholder, rows_resting_on

SCHEMA = "auditor/redaction/1"
_ERRORS = "errors.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What rules would leave out of a sealed case."""

    case: Case
    rules: tuple[Rule, ...]
    selection: Selection
    files: dict[str, str]
    """File left out whole -> why."""
    rewritten: tuple[str, ...]
    """Files that are there with other content: reports, and the list of failures."""
    statistics: tuple[str, ...]
    """Ids of the statistics that rest on what is withheld."""
    still: tuple[str, ...]
    """Files that are shown and in which a pattern occurs: suites, the plan."""

    @property
    def lines(self) -> int:
        """Number of withheld record lines."""
        return sum(map(len, self.selection.lines.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Redacted:
    """A redacted case that was written."""

    root: Path
    signatures: tuple[Path, ...] = field(default=())


def default_target(root: Path) -> Path:
    """Return ``CASE.redacted`` beside the case."""
    found = root.resolve()
    return found.with_name(found.name + ".redacted")


def plan_redaction(root: Path, rules: Sequence[Rule]) -> Redaction:
    """Return what the rules leave out, after every check of the sealed case but the replay.

    Raises:
        CaseError: no sealed case, one that does not verify, or one that is redacted already.
        InputError: a rule names no line.
    """
    _check_parent(root)
    case = Case(root)
    files = case.read_json(FILE)["files"]
    selection = select(case, [n for n, e in files.items() if e["role"] == "record"], rules)
    out = files_to_withhold(case, list(files), selection, rules)
    plan = case.read_json("plan.json")
    controls = [s["name"] for s in plan["subjects"] if s["role"] not in ("reference", "suspect")]
    rewritten = [n for n, entry in files.items() if entry["role"] == "report"]
    rewritten += [_ERRORS] if selection.failed else []
    shown = [n for n in files if n not in {*out, *rewritten, *selection.lines}]
    return Redaction(
        case=case,
        rules=tuple(rules),
        selection=selection,
        files=out,
        rewritten=tuple(sorted(rewritten)),
        statistics=tuple(
            rows_resting_on(case.read_json("statistics.json"), controls, {*out, *selection.lines})
        ),
        still=tuple(still_holding(case, shown, rules)),
    )


def _check_parent(root: Path) -> None:
    if not is_bag(root) or root.name.endswith(".part"):
        raise CaseError(
            f"{root} is not a sealed case",
            hint="`auditor seal CASE` makes one; a zip is unpacked first",
        )
    if not (root / "data" / FILE).is_file():
        raise CaseError(
            f"{root} is another tool's bag", hint="give a case that `auditor seal` closed"
        )
    found = verify(root)
    failed = [check for check in found.checks if check.outcome == "fail"]
    if failed:
        raise CaseError(
            f"{root} does not verify: {failed[0].id} {failed[0].details[0]}",
            hint="redact the case as it was sealed; see `auditor verify`",
        )
    if Case(root).read_json(FILE)["parent"] is not None:
        raise CaseError(
            f"{root} is redacted already",
            hint="redact the original again, with all rules: a copy proves its lines by the "
            "original's index alone",
        )


def check_target(root: Path, target: Path) -> None:
    """Refuse to write over something, or into the case.

    Raises:
        CaseError: says which.
    """
    if target.exists() or target.is_symlink():
        raise CaseError(f"{target} exists", hint="give another --out; nothing is replaced")
    if target.resolve().is_relative_to(root.resolve()):
        raise CaseError(f"{target} lies in the case itself", hint="give another --out")
    part = part_of(target)
    if part.exists() and not (part / "data" / PARENT).is_dir():
        raise CaseError(f"{part} is in the way", hint="move it away, or give another --out")


def redact(wanted: Redaction, target: Path, key: Any = None, signer: str = "custodian") -> Redacted:
    """Write the redacted copy and return where it is; the original stays as it was.

    Args:
        wanted: from `plan_redaction`.
        target: the new folder.
        key: private key that signs the copy; None for none.
        signer: the role in which it signs.

    Raises:
        CaseError: the folder exists, or the role is none.
        StorageError: the disk refused it; there is no copy.
    """
    check_role(signer)
    check_target(wanted.case.root, target)
    part = part_of(target)
    try:
        with storage_errors(part):
            shutil.rmtree(part, ignore_errors=True)
            (part / "data" / PARENT).mkdir(parents=True)
            _copy(wanted, Case(part))
        _close(wanted, Case(part), target)
    except (AuditorError, OSError):
        shutil.rmtree(part, ignore_errors=True)
        raise
    return Redacted(
        root=target, signatures=() if key is None else (sign_case(target, key, signer),)
    )


def _copy(wanted: Redaction, copy: Case) -> None:
    """Copy what is shown, and the original's index, manifest and signatures."""
    source = wanted.case
    for name in source.read_json(FILE)["files"]:
        target = copy.data / name
        if name in wanted.files or (name in wanted.rewritten and name != _ERRORS):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in wanted.selection.lines:
            _write_lines(source.data / name, target, wanted.selection.lines[name])
        elif name in wanted.rewritten:
            _write_errors(source.data / name, target, wanted.selection)
        else:
            shutil.copyfile(source.data / name, target)
    home = copy.data / PARENT
    shutil.copyfile(source.data / FILE, home / FILE)
    shutil.copyfile(source.root / MANIFEST, home / MANIFEST)
    for path in sorted((source.root / FOLDER).glob("*.json")):
        (home / FOLDER).mkdir(exist_ok=True)
        shutil.copyfile(path, home / FOLDER / path.name)


def _write_lines(source: Path, target: Path, withheld: Mapping[int, str]) -> None:
    with atomic_stream(target) as stream:
        for line, row in chained_lines(source):
            leaf = withheld.get(row["seq"])
            stream.write((line if leaf is None else placeholder(leaf)) + b"\n")


def _write_errors(source: Path, target: Path, selection: Selection) -> None:
    with atomic_stream(target) as stream:
        for line in source.read_bytes().splitlines():
            row = json.loads(line)
            place = (row["subject"], row["suite"], row["probe_id"], row["repeat"])
            hidden = {"error": None, "withheld": True} if place in selection.failed else {}
            stream.write(canonical_json({**row, **hidden}) + b"\n")


def _close(wanted: Redaction, copy: Case, target: Path) -> None:
    """Say what is left out, render the reports, index, pack and rename."""
    from auditor.report.render import rendered

    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    copy.write_json(REDACTION, _statement(wanted, time))
    origin = Origin(parent=manifest_digest(wanted.case.root), withheld=wanted.selection.lines)
    # The reports say what is withheld, which the index says; its list of files is made after them.
    atomic_write(copy.data / FILE, pretty_json({**index(copy.data, time, origin), "files": {}}))
    for name, content in rendered(copy):
        if role(name) == "report":
            atomic_write(copy.data / name, content)
    publish(copy, target, index(copy.data, time, origin))


def _statement(wanted: Redaction, time: str) -> dict[str, Any]:
    """Return the content of redaction.json."""
    files = wanted.case.read_json(FILE)["files"]
    return {
        "schema": SCHEMA,
        "time": time,
        "auditor": auditor.__version__,
        "rules": list(_counted(wanted)),
        "lines": {"withheld": wanted.lines, "total": wanted.selection.total},
        "files": {
            name: {"sha256": files[name]["sha256"], "bytes": files[name]["bytes"], "why": why}
            for name, why in wanted.files.items()
        },
        "rewritten": {name: files[name]["sha256"] for name in wanted.rewritten},
        "statistics": list(wanted.statistics),
    }


def _counted(wanted: Redaction) -> Iterator[dict[str, Any]]:
    for rule, count in zip(wanted.rules, wanted.selection.counts, strict=True):
        yield {"rule": rule.public, "lines": count}
