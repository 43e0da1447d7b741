"""Canonical JSON and digests: equal content gives equal bytes, and every digest covers names.

A digest is written ``algorithm:hex``. Structure is always encoded as RFC 8785 JSON before it is
hashed, never joined with separators, so no choice of names can make two contents collide.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20
LARGEST_INTEGER = 2**53 - 1
"""Larger ones have no canonical JSON: not every reader keeps them (RFC 8785, appendix D)."""


def canonical_json(value: Any) -> bytes:
    """Return the RFC 8785 bytes of `value`.

    Raises:
        ValueError: it holds NaN, an infinity, an integer beyond 2**53 or a type JSON lacks.
    """
    # Halves of surrogate pairs, which have no UTF-8, are named the slow way too.
    with contextlib.suppress(_OtherwiseError, UnicodeEncodeError):
        return _ENCODER.encode(_written_alike(value)).encode()
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"not representable as canonical JSON: {error}") from error


def canonical_object(members: Mapping[str, bytes]) -> bytes:
    """Return the RFC 8785 bytes of an object from those of its values: none is written twice."""
    # Section 3.2.3: names are sorted by their UTF-16 code units.
    names = sorted(members, key=lambda name: name.encode("utf-16-be"))
    return b"{" + b",".join(canonical_json(name) + b":" + members[name] for name in names) + b"}"


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
"""Written in C: several times as fast as RFC 8785 in Python, and the same on most values."""
_NAMES = {str}


class _OtherwiseError(Exception):
    """Python writes a value in another way than RFC 8785."""


def _written_alike(value: Any) -> Any:
    """Return a value as one that Python writes as RFC 8785 does; exact types only.

    Whole floats lose their ``.0``. Others where Python writes an exponent, and keys beyond ASCII,
    whose order differs, are left to the slow way.

    Raises:
        _OtherwiseError: there is none.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict and set(map(type, value)) <= _NAMES and "".join(value).isascii():
        return {key: _written_alike(one) for key, one in value.items()}
    if kind is list:
        return [_written_alike(one) for one in value]
    if kind is float and value.is_integer():
        value, kind = int(value), int
    whole = kind is int and abs(value) <= LARGEST_INTEGER
    if whole or (kind is float and 1e-4 <= abs(value) < 1e16):
        return value
    raise _OtherwiseError


def whole_text(text: str) -> str:
    """Return `text` with each half of a surrogate pair as U+FFFD.

    A JSON escape can name such a half; UTF-8, and with it canonical JSON, has no form for it.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def whole_json(value: Any) -> Any:
    """Return JSON values with `whole_text` applied to every string, keys too."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [whole_json(one) for one in value]
    if isinstance(value, dict):
        return {whole_text(key): whole_json(one) for key, one in value.items()}
    return value


def parsed_line(line: bytes) -> Any:
    """Return what a line of JSON says.

    Raises:
        ValueError: it is none.
    """
    import msgspec

    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The slower one takes halves of surrogate pairs and NaN, which other checks name.
        return json.loads(line.decode("utf-8", "surrogatepass"))


def pretty_json(value: Any) -> bytes:
    """Return indented, key-sorted UTF-8 JSON for people; refuses NaN and infinity."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def digest(data: bytes) -> str:
    """Return ``sha256:<hex>`` of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def json_digest(value: Any) -> str:
    """Return ``sha256:<hex>`` of the canonical JSON of `value`."""
    return digest(canonical_json(value))


def file_digest(path: Path) -> str:
    """Return ``sha256:<hex>`` of a file's bytes, read in chunks."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()


def tree_digest(entries: Mapping[str, str]) -> str:
    """Return one digest over ``{name: digest}``; renaming or swapping entries changes it."""
    return json_digest(sorted(entries.items()))


def directory_digests(root: Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """Return ``{relative posix path: digest}`` of the regular files under `root`, sorted."""
    if names is None:
        names = (p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    return {name: file_digest(root / name) for name in sorted(names)}


def leaf_hash(line: bytes) -> str:
    """Return the RFC 9162 (section 2.1.1) leaf hash of a record line, as hex."""
    return hashlib.sha256(b"\x00" + line).hexdigest()


def finite(value: float | None) -> float | None:
    """Return `value` as a float, or None where it is None; NaN and infinity are refused.

    Raises:
        ValueError: not finite. Undefined results carry a reason instead of a number.
    """
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} may not enter a file; give the reason instead")
    return number
