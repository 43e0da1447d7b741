"""JSON of strangers: strict, and as RFC 8785 spells it."""

import json
import math
import re
from typing import Any

from auditor.canon import LARGEST_INTEGER, canonical_json

_DIGITS = 17
"""Of an integer up to 2**53, with its sign."""
_LONG = re.compile(rb"[:,[]-?[0-9]{16}")
"""What may be an integer beyond 2**53."""


def strict_json(content: bytes) -> Any:
    """Return parsed JSON; duplicate keys, NaN and what canonical JSON lacks are refused.

    Raises:
        ValueError: says what.
    """
    value = json.loads(
        content.decode(),
        object_pairs_hook=_unique,
        parse_constant=_refuse,
        parse_int=_integer,
        parse_float=_float,
    )
    # An escape may name half of a surrogate pair, which UTF-8 has no bytes for.
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _integer(number: str) -> int:
    if len(number) > _DIGITS or abs(int(number)) > LARGEST_INTEGER:
        raise ValueError("an integer is beyond 2**53")
    return int(number)


def _float(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def canonical_line(line: bytes) -> Any:
    """Return what a line of canonical JSON says.

    Raises:
        ValueError: it is not strict JSON, or not spelled as RFC 8785 has it.
    """
    try:
        row = json.loads(line, parse_float=_plain, parse_constant=_refuse)
        text = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        # The fast encoder writes such values as the canonical one does.
        if text.encode() == line and not _LONG.search(line):
            return row
    except ValueError:
        pass  # the slow way says what is wrong, or that nothing is
    row = strict_json(line)
    if canonical_json(row) != line:
        raise ValueError("it is not spelled as RFC 8785 has it")
    return row


def _plain(number: str) -> float:
    """Return a float that is spelled alike by Python and by RFC 8785: 0.5, not 1e-7 or 2.0."""
    if "e" in number or "E" in number or number.endswith(".0"):
        raise ValueError(number)
    return float(number)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")
