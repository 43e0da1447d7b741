"""Seal a finished case: check, copy, log, render, close, sign."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import auditor
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


def seal_case(
    case: Case,
    out: Path | None = None,
    signing: Signing | None = None,
    secret_files: Sequence[Path] = (),
    plan_stamp: Path | None = None,
) -> Sealed:
    """Return the sealed copy of a finished case, signed where a key is given.

    Args:
        case: collected, measured and judged; it stays as it was.
        out: the new folder; by default ``CASE.evidence`` beside the case.
        signing: key and role of the first signature.
        secret_files: each holds a secret that must not be in the case.
        plan_stamp: RFC 3161 response over the lock of the plan; goes into ``data/plan.tsr``.

    Raises:
        TimestampError: the time stamp is not over the lock of this plan.
        CaseError: the case is incomplete, changed, sealed already or holds a secret, or the folder
            exists.
        StorageError: the disk refused it; the case is not sealed.
    """
    from auditor.bundle.signature import check_role, sign_case, sign_opinion
    from auditor.report.render import write_reports

    if signing is not None:
        check_role(signing.role)
    target = out or default_target(case)
    check_target(case, target)
    secrets = known_secrets(os.environ, secret_files)
    stamp = None if plan_stamp is None else read_plan_stamp(case, plan_stamp)
    with locked(case):
        check_complete(case)
        try:
            copy = copy_draft(case, target)
            if stamp is not None:
                atomic_write(copy.data / PLAN_STAMP, stamp)
            with Custody(copy) as custody:
                plan = json_digest(copy.read_json("plan.json"))
                custody.log("seal", plan=plan, auditor=auditor.__version__)
            write_reports(copy)
            evidence = close(copy, target, secrets)
        except AuditorError:
            shutil.rmtree(part_of(target), ignore_errors=True)
            raise
    signed: tuple[Path, ...] = ()
    if signing is not None:
        signed = (
            sign_case(target, signing.key, signing.role),
            sign_opinion(target, signing.key, signing.role),
        )
    return Sealed(root=target, evidence=evidence, signatures=signed)
