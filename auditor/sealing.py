"""Seal a finished case: check, copy, log, render, close, sign."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import auditor
from auditor.bundle import key_like
from auditor.bundle.completeness import check_complete
from auditor.bundle.seal import check_target, close, copy_draft, default_target, part_of
from auditor.bundle.secret_scan import known_secrets
from auditor.bundle.timestamp import PLAN_STAMP, read_plan_stamp
from auditor.canon import json_digest
from auditor.case import Case, atomic_write, locked
from auditor.collect.custody import Custody
from auditor.errors import AuditorError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A sealed case."""

    root: Path
    evidence: dict[str, Any]
    """Content of its evidence.json."""
    signatures: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Who signs a sealed case."""

    key: "EllipticCurvePrivateKey"
    role: str = "examiner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """What a case is searched for before it is closed, beside this process's key variables."""

    secret_files: Sequence[Path] = ()
    """Each holds a secret that must not be in the case."""
    key_like: Sequence[str] = ()
    """Replies, SUBJECT/SUITE#SEQ, that hold what only looks like a key."""


_USUAL = Screening()


def seal_case(
    case: Case,
    out: Path | None = None,
    signing: Signing | None = None,
    screening: Screening = _USUAL,
    plan_stamp: Path | None = None,
) -> Sealed:
    """Return the sealed copy of a finished case, signed where a key is given.

    Args:
        case: collected, measured and judged; it stays as it was.
        out: the new folder; by default ``CASE.evidence`` beside the case.
        signing: key and role of the first signature.
        screening: for secrets.
        plan_stamp: RFC 3161 response over the lock of the plan; goes into ``data/plan.tsr``.

    Raises:
        TimestampError: the time stamp is not over the lock of this plan.
        CaseError: the case is incomplete, changed, sealed already or holds a secret, or the folder
            exists.
        StorageError: the disk refused it; the case is not sealed.
    """
    from auditor.bundle.signature import check_role
    from auditor.report.render import write_reports

    if signing is not None:
        check_role(signing.role)
    target = out or default_target(case)
    check_target(case, target)
    secrets = _secrets(case, screening)
    stamp = None if plan_stamp is None else read_plan_stamp(case, plan_stamp)
    with locked(case):
        check_complete(case)
        try:
            copy = copy_draft(case, target)
            if stamp is not None:
                atomic_write(copy.data / PLAN_STAMP, stamp)
            rows = _log_seal(copy, screening.key_like)
            write_reports(copy)
            evidence = close(copy, target, secrets, key_like.accepted_texts(copy, rows))
        except AuditorError:
            shutil.rmtree(part_of(target), ignore_errors=True)
            raise
    signed = () if signing is None else sign_sealed(target, signing)
    return Sealed(root=target, evidence=evidence, signatures=signed)


def sign_sealed(root: Path, signing: Signing) -> tuple[Path, ...]:
    """Put the two signatures of a role on a sealed case, but for those that are there.

    Returns:
        Those that were made now: a kill may come between the seal and the last signature.
    """
    from auditor.bundle import signature

    made = []
    for suffix, sign in (
        (signature.SUFFIX, signature.sign_case),
        (signature.OPINION_SUFFIX, signature.sign_opinion),
    ):
        if not (root / signature.FOLDER / f"{signing.role}{suffix}").exists():
            made.append(sign(root, signing.key, signing.role))
    return tuple(made)


def _log_seal(copy: Case, places: Sequence[str]) -> list[dict[str, Any]]:
    """Log which replies were accepted, and the seal; return the rows of the replies."""
    rows = key_like.accepted_rows(copy, places)
    with Custody(copy) as custody:
        if rows:
            custody.log_all(key_like.EVENT, rows)
        plan = json_digest(copy.read_json("plan.json"))
        custody.log("seal", plan=plan, auditor=auditor.__version__)
    return rows


def _secrets(case: Case, screening: Screening) -> dict[str, list[bytes]]:
    """Return the secrets of this process and of the servers that the plan names."""
    from auditor.models.specifier import parse

    subjects = case.read_json("plan.json")["subjects"]
    servers = [parse(s["spec"]) for s in subjects if s["spec"].startswith("openai:")]
    files = [Path(s.options["key_file"]) for s in servers if "key_file" in s.options]
    # Of any name: the plan says that it holds a key.
    names = {s.options["key_env"] for s in servers if "key_env" in s.options} & os.environ.keys()
    return known_secrets(
        os.environ,
        [*screening.secret_files, *filter(Path.is_file, files)],
        {f"${name}": os.environ[name] for name in names},
    )
