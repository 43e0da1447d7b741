"""One finished case of tiny models, and copies of it that tests may spoil."""

import json
import shutil
from pathlib import Path

from auditor.audit import audit
from auditor.case import Case
from auditor.plan import AuditRequest, ControlSpec
from auditor.types import Access, Decoding

REQUEST = AuditRequest(
    command="compare",
    reference="tiny:teacher",
    suspects=("tiny:independent",),
    controls=(ControlSpec(spec="tiny:sibling"),),
    suites=("instructions", "ood"),
    access=Access.TOPK,
    probes=6,
    repeats=2,
    decoding=Decoding(max_new_tokens=8),
    encoder=None,
)


def finished_case(root: Path) -> Case:
    """Return a case that lacks nothing: three subjects, two suites, both reports."""
    return audit(REQUEST, root)


def copy_of(case: Case, root: Path) -> Case:
    """Return a copy of a case at `root`, without its scratch."""
    shutil.copytree(case.data, root / "data")
    return Case(root)


def files_of(root: Path) -> dict[str, bytes]:
    """Return {relative path: content} of all files below a folder."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def lines_of(path: Path) -> list[dict]:
    """Return the parsed lines of a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]
