"""`auditor verify`: fourteen checks of a sealed case, and the level that they establish.

Nothing of the case is executed, no key in it is trusted, nothing on the disk is changed.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.bundle.archive import ArchiveError, is_archive, read_entries, unpack
from auditor.bundle.bag import MANIFEST
from auditor.bundle.check import TITLES, Check, guarded, judged, skipped
from auditor.bundle.check_bag import check_bag, check_closed
from auditor.bundle.check_chain import check_chains
from auditor.bundle.check_complete import check_completeness
from auditor.bundle.check_content import check_content
from auditor.bundle.check_index import another_version, check_schemas
from auditor.bundle.check_plan import check_plan
from auditor.bundle.check_replay import check_replay
from auditor.bundle.check_signature import check_signatures
from auditor.bundle.check_time import check_times
from auditor.bundle.evidence import FILE
from auditor.bundle.listing import list_folder
from auditor.bundle.reading import reading_processes
from auditor.bundle.scan import Scanned, scan
from auditor.case import Case
from auditor.errors import CaseError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate

SCHEMA = "auditor/verify/1"
LEVELS = {
    "L0": "invalid",
    "L1": "intact",
    "L2": "intact, signer known",
    "L3": "intact, signer known, time trusted",
    "L4": "intact, signer known, replayed",
}
"""L5, collected again from the models, is `auditor reproduce`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom the verifier trusts, and what is to be recomputed."""

    keys: Sequence["EllipticCurvePublicKey"] = ()
    """Each must have signed."""
    roots: Sequence["Certificate"] = ()
    """Of time-stamp authorities."""
    replay: bool = False
    """Recompute the statistics and the conclusion too."""
    workers: int = 1
    """Processes that read a large case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the checks of a sealed case found."""

    case: Path
    checks: tuple[Check, ...]
    manifest: str | None = None
    """SHA-256 of the payload manifest as read, hex; None where there is none, or none was read."""

    @property
    def failed(self) -> list[str]:
        """Ids of the checks that failed."""
        return [check.id for check in self.checks if check.outcome == "fail"]

    @property
    def level(self) -> str:
        """The highest of `LEVELS` that is established."""
        outcome = {check.id: check.outcome for check in self.checks}
        if self.failed:
            return "L0"
        if outcome["V05"] != "pass":
            return "L1"
        if outcome["V12"] == "pass":
            return "L4"
        return "L3" if outcome["V06"] == "pass" else "L2"

    def as_json(self) -> dict[str, Any]:
        """Return what `auditor verify --json` prints."""
        return {
            "schema": SCHEMA,
            "case": str(self.case),
            "level": self.level,
            "established": LEVELS[self.level],
            "checks": [check.as_json() for check in self.checks],
        }


def verify(
    path: Path,
    keys: Sequence["EllipticCurvePublicKey"] = (),
    *,
    roots: Sequence["Certificate"] = (),
    replay: bool = False,
    workers: int = 1,
) -> Verification:
    """Return what the checks find in a sealed case, a folder or a zip of one.

    Args:
        path: of the folder or zip.
        keys: public keys that the verifier trusts; each must have signed.
        roots: root certificates of time-stamp authorities that the verifier trusts.
        replay: recompute the statistics and the conclusion too.
        workers: processes that read a large case, forked where the system can; 1 stays in this one.

    Raises:
        CaseError: it is no sealed case at all: a draft, an unfinished seal, or something else.
    """
    trust = Trust(keys=keys, roots=roots, replay=replay, workers=workers)
    return _verify_archive(path, trust) if path.is_file() else _verify_folder(path, trust)


def _verify_folder(path: Path, trust: Trust) -> Verification:
    _refuse_draft(path)
    listing = list_folder(path)
    if listing.faults:
        return _unsafe(path, listing.faults)
    with reading_processes(sum(listing.sizes.values()), trust.workers) as pool:
        # Drawing the figures again takes longest of all: it begins first, on a core of its own.
        first = _begun(pool, path, "V11")
        scanned = scan(path, listing.sizes, pool)
        elsewhere = {**first, **_begun(pool, path, "V10", "V13")}
        checks = _checks(path, scanned, trust, elsewhere)
    manifest = scanned[MANIFEST].sha256 if MANIFEST in scanned else None
    return Verification(case=path, checks=checks, manifest=manifest)


def _references(case: Case) -> Check:
    from auditor.bundle.check_references import check_references

    return check_references(case)


def _report(case: Case) -> Check:
    from auditor.bundle.check_report import check_report

    return check_report(case)


def _words(case: Case) -> Check:
    from auditor.bundle.check_words import check_words

    return check_words(case)


_OF_CASE = {"V10": _references, "V11": _report, "V13": _words}
"""Checks that need nothing of what was scanned; each loads its modules where it is made."""


def _begun(pool: Executor | None, root: Path, *names: str) -> dict[str, Callable[[], Check]]:
    """Return how the results of some checks are had: from the pool, or made when asked for."""
    if pool is None:
        return {name: partial(_of_case, name, root) for name in names}
    return {name: pool.submit(_of_case, name, root).result for name in names}


def _of_case(name: str, root: Path) -> Check:
    return guarded(name, lambda: _OF_CASE[name](Case(root)))


def _refuse_draft(root: Path) -> None:
    if not root.is_dir():
        raise CaseError(f"{root} does not exist", hint="give the folder or zip of a sealed case")
    if root.name.endswith(".part"):
        raise CaseError(f"{root} is an unfinished seal", hint="repeat `auditor seal`")
    if (root / "bagit.txt").exists() or (root / "data" / FILE).exists():
        return
    if (root / "data" / "plan.json").exists():
        raise CaseError(f"{root} is a draft, not evidence", hint="`auditor seal CASE` closes it")
    raise CaseError(f"{root} is no sealed case", hint="`auditor seal CASE` makes one")


def _verify_archive(path: Path, trust: Trust) -> Verification:
    if not is_archive(path):
        raise CaseError(f"{path} is neither a folder nor a zip", hint="give a sealed case")
    with tempfile.TemporaryDirectory(prefix="auditor-verify-") as folder:
        try:
            entries = read_entries(path)
            unpack(path, entries, Path(folder))
        except ArchiveError as error:
            return _unsafe(path, [str(error)])
        found = _verify_folder(_only_folder(Path(folder)), trust)
    return replace(found, case=path)


def _only_folder(folder: Path) -> Path:
    """Return the one folder that a zip holds, or the place itself where the bag is at the top."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].name != "data" else folder


def _unsafe(path: Path, faults: Sequence[str]) -> Verification:
    rest = [skipped(name, "not safe to read: see V01") for name in list(TITLES)[1:]]
    return Verification(case=path, checks=(judged("V01", faults), *rest))


def _checks(
    root: Path,
    scanned: Mapping[str, Scanned],
    trust: Trust,
    elsewhere: Mapping[str, Callable[[], Check]],
) -> tuple[Check, ...]:
    case = Case(root)
    readable = f"data/{FILE}" in scanned and not _of_another_version(root)
    # The replay is a process of its own: it runs on another core while the rest is checked.
    with ThreadPoolExecutor(max_workers=1) as beside:
        replay = beside.submit(check_replay, case, wanted=trust.replay and readable)
        made = {**elsewhere, "V12": replay.result}
        return _made_checks(root, scanned, trust, made, readable=readable)


def _made_checks(
    root: Path,
    scanned: Mapping[str, Scanned],
    trust: Trust,
    elsewhere: Mapping[str, Callable[[], Check]],
    *,
    readable: bool,
) -> tuple[Check, ...]:
    case = Case(root)
    checks: dict[str, Callable[[], Check]] = {
        "V01": lambda: judged("V01", ()),
        "V02": lambda: check_schemas(root, scanned),
        "V03": lambda: check_bag(root, scanned),
        "V04": lambda: check_closed(case.read_json(FILE)["files"], scanned),
        "V05": lambda: check_signatures(root, scanned, trust.keys),
        "V06": lambda: check_times(case, scanned, trust.roots),
        "V07": lambda: check_chains(case, scanned),
        "V08": lambda: check_completeness(case, scanned),
        "V09": lambda: check_plan(case, scanned),
        "V14": lambda: check_content(root, scanned),
        **elsewhere,
    }
    return tuple(_made(name, checks[name], readable=readable) for name in TITLES)


def _made(name: str, check: Callable[[], Check], *, readable: bool) -> Check:
    if name not in ("V01", "V02", "V03", "V05", "V14") and not readable:
        return skipped(name, "the index is missing or of another version: see V02")
    return guarded(name, check)


def _of_another_version(root: Path) -> bool:
    try:
        return another_version(root)
    except (ValueError, RecursionError):
        return True
