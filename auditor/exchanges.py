"""What was exchanged with the servers of a case, read back from its logs; nothing is asked here.

``data/exchanges/SUBJECT.jsonl`` holds every attempt as it went: `auditor.models.exchange_log` says
how a line looks and writes it. What a server called itself, and whether that changed while it was
asked, follows from these lines alone.
"""

import base64
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from auditor.canon import LARGEST_INTEGER, whole_text
from auditor.case import Case
from auditor.errors import CaseError
from auditor.served_limits import served_limits

ACCESS_PROBE = "access"
"""What a line is about that found out which access a server offers; others name their probe."""


def exchange_path(case: Case, subject: str) -> Path:
    """Return the log of a subject behind a server."""
    return case.data / "exchanges" / f"{subject}.jsonl"


def is_served(spec: str) -> bool:
    """Say whether a specifier names a model behind a server."""
    return spec.startswith("openai:")


def log_owner(plan: dict[str, Any], spec: str) -> str:
    """Return the first subject of a specifier: two that are one model share a log."""
    return next(str(s["name"]) for s in plan["subjects"] if s["spec"] == spec)


def server_row(case: Case, plan: dict[str, Any], subject: dict[str, Any]) -> dict[str, Any]:
    """Return what subjects.json says of the server of a subject, ``limits`` in words among it."""
    facts = served_facts(exchange_path(case, log_owner(plan, subject["spec"])))
    return {**facts, "limits": served_limits(subject["name"], facts)}


def read_exchanges(path: Path, *, growing: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the attempts of a log in their order; none where there is no file.

    Args:
        path: of the log.
        growing: whether half a line may stand at its end, which is left out: one that is being
            written, or that a kill left.

    Raises:
        CaseError: a line is not the record of a request.
    """
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if growing and not line.endswith(b"\n"):
                return
            try:
                entry = json.loads(line)
                whole = line.endswith(b"\n") and isinstance(entry["answered"], bool)
            except (ValueError, KeyError, TypeError):
                whole = False
            if not whole:
                raise CaseError(
                    f"{path}, line {number}: not the record of a request",
                    hint="restore the file from a copy",
                )
            yield entry


def body_bytes(entry: dict[str, Any]) -> bytes:
    """Return the bytes of the body of an attempt; a key that a server echoed is taken out."""
    if "body" in entry:
        return str(entry["body"]).encode()
    return base64.b64decode(entry["body_base64"])


def failed_attempts(case: Case, subject: str) -> list[dict[str, Any]]:
    """Return the rows of errors.jsonl for the attempts that had no reply.

    ``exchange`` is the number of the line in the subject's log, from 1; suite, probe and repeat are
    None where the attempt was about the access that the server offers.
    """
    suites = {
        probe: f"{suite['name']}@{suite['version']}"
        for suite in case.read_json("plan.json")["suites"]
        for probe in suite["probes"]
    }
    rows = []
    for number, entry in enumerate(read_exchanges(exchange_path(case, subject)), start=1):
        if not entry["answered"]:
            about = entry.get("about") or {}
            probe = about.get("probe_id")
            rows.append(
                {
                    "subject": subject,
                    "suite": None if probe is None else suites.get(probe),
                    "probe_id": probe,
                    "repeat": about.get("repeat"),
                    "attempt": entry["attempt"],
                    "error": failure_words(entry),
                    "exchange": number,
                }
            )
    return rows


def failure_words(entry: dict[str, Any]) -> str:
    """Return how an attempt failed: the fault of the connection, or what was answered instead."""
    if "error" in entry:
        return str(entry["error"])
    status = entry["status"]
    return "answered 200, but no reply" if status == 200 else f"answered {status}"


def served_facts(path: Path) -> dict[str, Any]:
    """Return what a log says of a server: its names, fingerprints, failures and counted tokens.

    ``models`` and ``fingerprints``: each value in the order in which it first came, with the number
    of replies and the times (UTC) of the first and last request that it answered; None of those
    without one. What is no text stands there as its JSON. Fingerprints are empty where the server
    gives none. ``changes``: how often another value followed in the replies of one path, of the
    paths the most: they may be served by one system or by several. ``changed``: those values.
    ``usage.unreported``: replies without a count of tokens.
    """
    told: list[_Told] = []
    failures: Counter[str] = Counter()
    usage = Counter(prompt_tokens=0, completion_tokens=0, unreported=0)
    asked, attempts, latest = "", 0, ""
    for entry in read_exchanges(path):
        attempts += 1
        if str(entry["sent"]) >= latest:  # of those sent at once, the last of the file
            latest, asked = str(entry["sent"]), entry["request"]["body"]["model"]
        if not entry["answered"]:
            failures[failure_words(entry)] += 1
            continue
        reply = json.loads(body_bytes(entry))
        told.append(_told(entry, reply))
        _count(usage, reply)
    told.sort(key=lambda reply: str(reply.sent))
    marks = _values((reply.fingerprint, reply.sent) for reply in told)
    turns = {
        "models": _turns((reply.model, reply.path) for reply in told),
        "fingerprints": _turns((reply.fingerprint, reply.path) for reply in told),
    }
    return {
        "asked": asked,
        "attempts": attempts,
        "failed": dict(sorted(failures.items())),
        "models": _values((reply.model, reply.sent) for reply in told),
        "fingerprints": [] if all(row["value"] is None for row in marks) else marks,
        "changes": {kind: _most_on_a_path(found) for kind, found in turns.items()},
        "changed": {
            kind: list(dict.fromkeys(chain(*(turn.values for turn in found))))
            for kind, found in turns.items()
        },
        "usage": dict(usage),
    }


class _Told(NamedTuple):
    """What a server called itself in a reply: of each, memory holds no more than this."""

    sent: Any
    path: str
    model: str | None
    fingerprint: str | None


def _told(entry: dict[str, Any], reply: dict[str, Any]) -> _Told:
    model, mark = (_name(reply.get(key)) for key in ("model", "system_fingerprint"))
    return _Told(entry["sent"], sys.intern(entry["request"]["path"]), model, mark)


def _name(value: Any) -> str | None:
    """Return what a server calls itself as text, whatever JSON it gives; None: nothing."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    # A name is parsed anew with every reply; one copy serves all.
    return sys.intern(whole_text(text))


def _values(said: Iterable[tuple[str | None, Any]]) -> list[dict[str, Any]]:
    """Return a row for each value of (value, time sent), which are in order of time."""
    rows: dict[str | None, dict[str, Any]] = {}
    for value, sent in said:
        row = rows.setdefault(value, {"value": value, "replies": 0, "first": sent})
        row["replies"] += 1
        row["last"] = sent
    return list(rows.values())


class _Turn(NamedTuple):
    """Two values that followed each other on a path."""

    path: str
    values: tuple[str, str]


def _turns(said: Iterable[tuple[str | None, str]]) -> list[_Turn]:
    """Return where another value followed on a path, of (value, path) in order of time.

    A reply without a value says nothing of a change.
    """
    last: dict[str, str] = {}
    found = []
    for value, path in said:
        if value is not None:
            before = last.get(path, value)
            if before != value:
                found.append(_Turn(path, (before, value)))
            last[path] = value
    return found


def _most_on_a_path(turns: list[_Turn]) -> int:
    # One change of a system behind several paths is seen on each.
    return max(Counter(turn.path for turn in turns).values(), default=0)


def _count(usage: Counter[str], reply: dict[str, Any]) -> None:
    """Add the tokens of a reply; a count beyond what a sum can hold is as good as none."""
    counted = reply_usage(reply)
    if counted is not None:
        sums = usage["prompt_tokens"] + counted[0], usage["completion_tokens"] + counted[1]
        if max(sums) <= LARGEST_INTEGER:
            usage["prompt_tokens"], usage["completion_tokens"] = sums
            return
    usage["unreported"] += 1


def reply_usage(reply: dict[str, Any]) -> tuple[int, int] | None:
    """Return the tokens of prompt and reply as the server counted them; None if it does not say."""
    usage = reply.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    sent, drawn = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if type(sent) is not int or type(drawn) is not int:
        return None
    return (sent, drawn) if 0 <= min(sent, drawn) <= max(sent, drawn) <= LARGEST_INTEGER else None
