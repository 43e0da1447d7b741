"""Times (V06): what happened is in order, and a time stamp is of an authority that is trusted.

The clocks of the machines that made a case show an order, no more. A time is shown by a time stamp
(RFC 3161) of an authority whose root certificate the verifier brings: over the locked plan, before
the first reply was recorded; over a signature, after the seal.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.bundle.canonical_line import strict_json
from auditor.bundle.check import Check, judged, skipped
from auditor.bundle.check_chain import custody_events
from auditor.bundle.check_parent import original
from auditor.bundle.evidence import FILE
from auditor.bundle.scan import Scanned
from auditor.bundle.signature import FOLDER
from auditor.bundle.timestamp import PLAN_STAMP, stamped_time, trusted
from auditor.canon import pretty_json
from auditor.case import Case
from auditor.errors import MissingExtraError, TimestampError
from auditor.withheld import PARENT

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class _Stamp:
    """A time stamp of the case."""

    name: str
    response: bytes
    data: bytes
    """What it must be over."""
    of_plan: bool
    sealed: str
    """When what it is over was sealed."""


def check_times(
    case: Case, scanned: Mapping[str, Scanned], roots: Sequence["Certificate"]
) -> Check:
    """V06: plan, records and seal are in order; with roots, every time stamp is of one of them."""
    faults = list(_order_faults(case, custody_events(case)))
    stamps = list(_stamps(case, scanned))
    notes: list[str] = []
    for stamp in stamps:
        try:
            time = stamped_time(stamp.response, stamp.data)
            notes.append(f"{stamp.name}: stamped {time.isoformat()}")
            if roots and not trusted(stamp.response, stamp.data, roots):
                faults.append(f"{stamp.name} is of no authority below the roots given")
            faults += _place_faults(case, stamp, time)
        except TimestampError as error:
            faults.append(f"{stamp.name}: {error.message}")
        except MissingExtraError as error:
            return skipped("V06", f"{error.message}: {error.hint}")
    if faults or (roots and stamps):
        return judged("V06", faults, notes)
    if stamps:
        return skipped("V06", "no root given: --tsa-root says which authority is trusted", *notes)
    return skipped("V06", "in order by the clocks of its makers; no time stamp of somebody else")


def _stamps(case: Case, scanned: Mapping[str, Scanned]) -> Iterator[_Stamp]:
    lock = (case.read_json("plan.json").get("declared") or {}).get("lock")
    if f"data/{PLAN_STAMP}" in scanned:
        over = b"" if lock is None else pretty_json(lock)
        yield _Stamp(f"data/{PLAN_STAMP}", (case.data / PLAN_STAMP).read_bytes(), over, True, "")
    source, index = original(case.root), case.read_json(FILE)
    for name in sorted(scanned):
        if name.startswith(f"{FOLDER}/"):
            yield from _of_signature(case.root, name, index["sealed"])
        elif source is not None and name.startswith(f"data/{PARENT}/{FOLDER}/"):
            yield from _of_signature(case.root, name, source.evidence["sealed"])


def _of_signature(root: Path, name: str, sealed: str) -> Iterator[_Stamp]:
    try:
        content: Any = strict_json((root / name).read_bytes())
        kept = content["verificationMaterial"].get("timestampVerificationData", {})
        signed = base64.b64decode(content["dsseEnvelope"]["signatures"][0]["sig"], validate=True)
    except (LookupError, TypeError, ValueError, AttributeError):
        return  # no signature at all: V05 says so
    for one in kept.get("rfc3161Timestamps", []):
        response = base64.b64decode(one["signedTimestamp"], validate=True)
        yield _Stamp(name, response, signed, False, sealed)


def _place_faults(case: Case, stamp: _Stamp, time: datetime) -> Iterator[str]:
    """Yield what the stamped time contradicts."""
    if stamp.of_plan:
        begun = datetime.fromisoformat(custody_events(case)[0]["time"])
        if time > begun:
            yield f"{stamp.name}: the plan was stamped after the collection had begun"
    else:
        # Authorities often give whole seconds.
        sealed = datetime.fromisoformat(stamp.sealed)
        if time < sealed.replace(microsecond=0):
            yield f"{stamp.name}: the signature was stamped before the seal"


def _order_faults(case: Case, events: list[dict[str, Any]]) -> Iterator[str]:
    names = [event["event"] for event in events]
    if not names or names[0] != "collecting":
        yield "custody.jsonl does not begin with the start of a collection"
    if names[-1:] != ["seal"] or names.count("seal") != 1:
        yield "custody.jsonl does not end with the seal"
    sealed = datetime.fromisoformat(case.read_json("evidence.json")["sealed"])
    times = [datetime.fromisoformat(event["time"]) for event in events]
    if any(time.tzinfo is None for time in times):
        yield "custody.jsonl holds a time without its zone"
        return
    for line, (before, time) in enumerate(pairwise(times), 2):
        if time < before:
            yield (
                f"custody.jsonl, line {line} ({names[line - 1]}) is dated {before - time} before "
                "the line above it: the clock of its maker was set back, or lines were changed"
            )
    if times and times[-1] > sealed:
        yield "the seal is dated before the last event of custody.jsonl"
    source = original(case.root)
    if source is not None and datetime.fromisoformat(source.evidence["sealed"]) > sealed:
        yield "the redacted copy is dated before the original was sealed"
