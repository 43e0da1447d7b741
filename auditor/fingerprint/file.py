"""The file that leaves a party: JSON of ``auditor/fingerprint/1``, arrays in base64.

It is checked against ``reports/schema/fingerprint-1.json``, then for what a schema cannot say:
digests, shapes, finite numbers. It holds no text, no weight, no path and no token id.
"""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditor.bundle.schemas import departures
from auditor.canon import canonical_json, digest, json_digest, pretty_json, whole_text
from auditor.case import atomic_write
from auditor.errors import InputError
from auditor.fingerprint.plan import block_count, check_sizes, state_numbers
from auditor.types import Array

SCHEMA = "auditor/fingerprint/1"
TYPES = {"float32": "<f4", "int32": "<i4", "uint8": "|u1"}
LONGEST_NAME = 200
"""Characters."""
TOLERANCE = 1e-3
"""Of a number relative to the largest of its array: another machine adds up in another order."""
_SHOWN = 100
"""Characters of what a broken file holds."""
_HINT = "`auditor fingerprint make SUBJECT --out FILE` makes one; ask its maker for the file again"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprint:
    """A fingerprint that was read and checked."""

    path: Path
    digest: str
    """Of the file."""
    content: dict[str, Any]
    arrays: Mapping[str, Array]
    """By name: ``probe``, ``byte_end``, ``hellinger``, ``js``, ``top1``, ``logp``, ``hidden``,
    ``tensors``."""

    @property
    def name(self) -> str:
        """What the maker calls the model."""
        return str(self.content["name"])

    @property
    def subject(self) -> dict[str, Any]:
        """Which model it says that it is of."""
        return dict(self.content["subject"])


def packed(values: Array) -> dict[str, Any]:
    """Return an array as JSON values."""
    kind = {np.dtype(code): name for name, code in TYPES.items()}[values.dtype]
    raw = np.ascontiguousarray(values).tobytes()
    return {
        "type": kind,
        "shape": list(values.shape),
        "base64": base64.b64encode(raw).decode("ascii"),
        "digest": digest(raw),
    }


def write_fingerprint(path: Path, content: dict[str, Any]) -> None:
    """Write a fingerprint.

    Raises:
        StorageError: the disk refuses it.
    """
    atomic_write(path, pretty_json(content))


def check_name(name: str) -> None:
    """Refuse what no file may call a model.

    Raises:
        InputError: it is empty, too long, or no text.
    """
    if not 1 <= len(name) <= LONGEST_NAME or name != whole_text(name):
        raise InputError(
            f"the name {whole_text(name[:LONGEST_NAME])!r} cannot be written",
            hint=f"--name: 1 to {LONGEST_NAME} characters that UTF-8 has",
        )


def read_fingerprint(path: Path) -> Fingerprint:
    """Return a checked fingerprint.

    Raises:
        InputError: there is none, or it is broken; the message says where.
    """
    raw = _read(path)
    content = _parsed(path, raw)
    try:
        found = list(departures(content, "fingerprint"))
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply", hint=_HINT) from error
    if found:
        raise InputError(f"{path} is no fingerprint: {found[0]}", hint=_HINT)
    if json_digest(content["terms"]) != content["terms_digest"]:
        raise InputError(f"the terms of {path} do not have the digest that it states", hint=_HINT)
    _check_terms(path, content["terms"])
    arrays = {name: _unpacked(path, name, one) for name, one in content["arrays"].items()}
    _check_tensors(path, content)
    _check_shapes(path, content, arrays)
    return Fingerprint(path=path, digest=digest(raw), content=content, arrays=arrays)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from error


def _parsed(path: Path, raw: bytes) -> Any:
    """Return the values of a file whose numbers are all integers, and whose text is UTF-8."""
    try:
        content = json.loads(raw, parse_float=_refused, parse_constant=_refused)
        canonical_json(content)
    except (ValueError, RecursionError) as error:
        why = str(error)[:_SHOWN]
        raise InputError(f"{path} is no JSON of a fingerprint: {why}", hint=_HINT) from error
    return content


def _refused(number: str) -> None:
    raise ValueError(f"{number[:_SHOWN]} is no integer")


def _check_terms(path: Path, terms: dict[str, Any]) -> None:
    """Refuse terms on which `make` makes nothing: `check` works on those of the file."""
    try:
        check_sizes(terms)
    except InputError as error:
        raise InputError(f"the terms of {path} cannot be: {error.message}", hint=_HINT) from error


def _check_tensors(path: Path, content: dict[str, Any]) -> None:
    rows, numbers = content["tensors"], content["terms"]["tensor_projections"]
    if len({row["name"] for row in rows}) < len(rows):
        raise InputError(f"{path} names a tensor twice", hint=_HINT)
    if bool(rows) != ("tensors" in content["arrays"]):
        raise InputError(f"{path} has tensors without sums, or sums without", hint=_HINT)
    for row in rows:
        fits = row["blocks"] == block_count(row["shape"], numbers)
        if not fits or row["elements"] > math.prod(row["shape"]):
            raise InputError(
                f"{path} has blocks or elements of a tensor that its shape does not have",
                hint=_HINT,
            )


def _unpacked(path: Path, name: str, one: dict[str, Any]) -> Array:
    try:
        raw = base64.b64decode(one["base64"], validate=True)
    except ValueError as error:
        raise InputError(f"{name} of {path} is no base64: {error}", hint=_HINT) from error
    if digest(raw) != one["digest"]:
        raise InputError(f"{name} of {path} does not have the digest that it states", hint=_HINT)
    try:
        values = _shaped(raw, one)
    except ValueError as error:
        raise InputError(
            f"{name} of {path} does not hold {one['shape']} numbers", hint=_HINT
        ) from error
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{name} of {path} holds NaN or infinity", hint=_HINT)
    return values


def unpacked(one: dict[str, Any]) -> Array:
    """Return the array that `packed` was given."""
    return _shaped(base64.b64decode(one["base64"]), one)


def alike(a: Array, b: Array, tolerance: float) -> bool:
    """Whether no number of two arrays of one shape differs by more than that of the largest."""
    scale = max(float(np.abs(a).max(initial=0.0)), 1e-30)
    return bool(np.abs(a.astype(np.float64) - b).max(initial=0.0) <= tolerance * scale)


def _shaped(raw: bytes, one: dict[str, Any]) -> Array:
    return np.frombuffer(raw, dtype=TYPES[one["type"]]).reshape(one["shape"])


def _check_shapes(path: Path, content: dict[str, Any], arrays: Mapping[str, Array]) -> None:
    terms = content["terms"]
    probes = sum(len(suite["probes"]) for suite in terms["suites"])
    k, rows = terms["projections"], len(arrays["probe"])
    wanted = {
        "probe": (rows,),
        "byte_end": (rows,),
        "hellinger": (rows, k),
        "js": (rows, 2, k),
        "top1": (rows,),
        "logp": (rows,),
        "hidden": (probes, state_numbers(content["subject"]["width"], k)),
    }
    if "tensors" in arrays:
        wanted["tensors"] = (_sums(content), terms["tensor_projections"])
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise InputError(
                f"{name} of {path} has the shape {arrays[name].shape}, its terms say {shape}",
                hint=_HINT,
            )
    if not rows:
        raise InputError(f"{path} holds no position of any probe", hint=_HINT)
    if not (arrays["probe"].min() >= 0 and arrays["probe"].max() < probes):
        raise InputError(f"probe of {path} names a probe that there is not", hint=_HINT)


def _sums(content: dict[str, Any]) -> int:
    return sum(one["blocks"] for one in content["tensors"])
