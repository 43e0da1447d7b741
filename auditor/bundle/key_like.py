"""Texts in models' replies that only look like a key, and their acceptance by who seals a case.

A model may well make up a text like ``sk-...``. Such a reply is evidence and stays as it is; a
person reads it and names its record, ``SUBJECT/SUITE#SEQ``. The name goes into custody.jsonl, and
`auditor verify` shows it. What is shaped like a key and stands in no accepted reply is refused.
"""

import json
import re
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from auditor.bundle.secret_scan import KeyLike, is_accepted, key_like, key_like_in
from auditor.canon import leaf_hash
from auditor.case import Case
from auditor.errors import CaseError

EVENT = "key-like reply accepted"
_PLACE = re.compile(r"(?P<subject>[^/#]+)/(?P<suite>[^/#]+)#(?P<seq>[0-9]{1,12})")
_SHOWN = 10


def accepted_rows(case: Case, places: Sequence[str]) -> list[dict[str, Any]]:
    """Return what goes into the custody log of each accepted reply: its place, hash and shapes.

    Raises:
        CaseError: a place names no reply of the case, or one without anything like a key.
    """
    rows = []
    for place in dict.fromkeys(places):
        line = _line(case, place)
        shapes = [] if line is None else key_like_in(_reply(line))
        if line is None or not shapes:
            why = "names no reply of this case" if line is None else "holds nothing like a key"
            raise CaseError(f"{place} {why}", hint="name a reply as SUBJECT/SUITE#SEQ of its line")
        what = sorted({one.what for one in shapes})
        rows.append({"record": place, "leaf": leaf_hash(line), "what": what})
    return rows


def accepted_texts(case: Case, rows: Sequence[dict[str, Any]]) -> set[bytes]:
    """Return the texts like a key in the replies that custody events name.

    A line that is not there, or is another one, accepts nothing.
    """
    found: set[bytes] = set()
    for row in rows:
        line = _line(case, row["record"])
        if line is not None and leaf_hash(line) == row["leaf"]:
            found |= {one.text for one in key_like_in(_reply(line))}
    return found


def refuse_key_like(case: Case, names: Sequence[str], accepted: Set[bytes]) -> None:
    """Read files below ``data/`` and refuse them where one holds what looks like a key.

    Args:
        case: whose files are read.
        names: of the files.
        accepted: texts that may stand there.

    Raises:
        CaseError: names the files and what was found, not the value.
    """
    found = {name: left for name in names if (left := unaccepted(case.data / name, accepted))}
    if not found:
        return
    shown = [f"{name} holds what looks like {left[0].what}" for name, left in found.items()]
    more = [f"and {len(shown) - _SHOWN} more files"] if len(shown) > _SHOWN else []
    raise CaseError("; ".join([*shown[:_SHOWN], *more]), hint=_remedy(case, found))


def unaccepted(path: Path, accepted: Set[bytes]) -> list[KeyLike]:
    """Return the texts like a key in a file that were not accepted."""
    return [one for one in key_like(path) if not is_accepted(one, accepted)]


def _remedy(case: Case, found: dict[str, list[KeyLike]]) -> str:
    """Return what to do: accept where all stands in replies, else take it out."""
    places = [place for name in found for place in _places(case, name)]
    replies = {text for place in places for text in _shapes_at(case, place)}
    if all(is_accepted(one, replies) for left in found.values() for one in left):
        options = " ".join(f"--accept-key-like '{place}'" for place in places[:_SHOWN])
        more = " ..." if len(places) > _SHOWN else ""
        return f"if it is no key but what the model made up, read it and give {options}{more}"
    return "a sealed case is read by strangers: withdraw that key, and make the case again without"


def _places(case: Case, name: str) -> Iterator[str]:
    """Yield the places of the replies in a record file that hold something like a key."""
    if not name.startswith("records/"):
        return
    stem = name.removeprefix("records/").removesuffix(".jsonl")
    for number, line in enumerate((case.data / name).read_bytes().splitlines()):
        if key_like_in(_reply(line)):
            yield f"{stem}#{number}"


def _shapes_at(case: Case, place: str) -> list[bytes]:
    line = _line(case, place)
    return [] if line is None else [one.text for one in key_like_in(_reply(line))]


def _line(case: Case, place: str) -> bytes | None:
    """Return the record line at a place, found by its ``seq``: some lines may be withheld."""
    match = _PLACE.fullmatch(place)
    if match is None or ".." in place:
        return None
    path = case.records(match["subject"], match["suite"])
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as stream:
        for line in stream:
            likely = b'"seq":%d' % int(match["seq"]) in line
            if likely and json.loads(line).get("seq") == int(match["seq"]):
                return line.removesuffix(b"\n")
    return None


def _reply(line: bytes) -> bytes:
    text = json.loads(line).get("text")
    return text.encode(errors="surrogatepass") if isinstance(text, str) else b""
