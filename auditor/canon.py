"""Canonical JSON and digests: equal content gives equal bytes, and every digest covers names.

A digest is written ``algorithm:hex``. Structure is always encoded as RFC 8785 JSON before it is
hashed, never joined with separators, so no choice of names can make two contents collide.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> bytes:
    """Return the RFC 8785 bytes of `value`.

    Raises:
        ValueError: it holds NaN, an infinity, an integer beyond 2**53 or a type JSON lacks.
    """
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"not representable as canonical JSON: {error}") from error


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
