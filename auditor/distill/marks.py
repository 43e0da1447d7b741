"""Marks of a run: a key, a commitment to what is drawn with it, and the file that reveals both.

The commitment stands in the ledger before training. Whoever makes it can neither choose another
key nor another test once a suspect has been seen, and it tells nobody where the marks are.

It is HMAC-SHA256(key, canonical JSON of the spec) (RFC 2104). Keys have one length: HMAC pads
shorter ones with zeros, so that two keys of different lengths could give the same value.
"""

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.canon import canonical_json, pretty_json
from auditor.case import atomic_write, storage_errors
from auditor.errors import InputError, StorageError

KEY_BYTES = 32
SPEC_SCHEMA = "auditor/marks/1"
REVEAL_SCHEMA = "auditor/marks-reveal/1"
_REMEDY = "use the reveal file that was written when the run was started"
_WORD = 1 << 64


@dataclass(frozen=True, slots=True)
class Reveal:
    """What an audit is given to look for the marks."""

    key: bytes
    spec: dict[str, Any]
    commitment: str


class KeyStream:
    """Whole numbers drawn from a key: HMAC-SHA256(key, [label, counter]) in blocks of four words.

    Streams of different labels are independent, and each number depends on key, label and the
    numbers drawn before it from the same stream alone.
    """

    def __init__(self, key: bytes, *label: str | int) -> None:
        """Open the stream of a label.

        Raises:
            InputError: the key has another length than 32 bytes.
        """
        self._key = checked_key(key)
        self._label = list(label)
        self._blocks = 0
        self._words: list[int] = []

    def below(self, bound: int) -> int:
        """Return a number drawn uniformly from 0, ..., bound - 1; `bound` is 1 to 2**64."""
        # The last, incomplete run of residues is drawn again: else small numbers come too often.
        usable = _WORD - _WORD % bound
        while (word := self._word()) >= usable:
            pass
        return word % bound

    def _word(self) -> int:
        if not self._words:
            message = canonical_json([self._label, self._blocks])
            block = hmac.digest(self._key, message, "sha256")
            self._words = [int.from_bytes(block[i : i + 8], "big") for i in (24, 16, 8, 0)]
            self._blocks += 1
        return self._words.pop()


def generate_key() -> bytes:
    """Return 32 bytes of the operating system's generator."""
    return secrets.token_bytes(KEY_BYTES)


def checked_key(key: bytes) -> bytes:
    """Return the key.

    Raises:
        InputError: it has another length than 32 bytes.
    """
    if len(key) != KEY_BYTES:
        raise InputError(
            f"a key of marks has {KEY_BYTES} bytes, not {len(key)}",
            hint="leave the key out to have one generated, or: head -c 32 /dev/urandom > FILE",
        )
    return key


def read_key(path: Path) -> bytes:
    """Return the key of a file, which holds its 32 bytes and nothing else.

    Raises:
        InputError: the file cannot be read or has another length.
    """
    try:
        return checked_key(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"cannot read the key {path}: {error.strerror}", hint="check the path"
        ) from error


def write_key(path: Path, key: bytes) -> None:
    """Write a key to a new file that only its owner can read.

    Raises:
        InputError: the key has another length than 32 bytes.
        StorageError: the file exists, or the disk refused it.
    """
    checked_key(key)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with storage_errors(path):
        try:
            handle = os.open(path, flags, 0o600)
        except FileExistsError as error:
            raise StorageError(
                f"{path} exists; a key is never overwritten", hint="read it, or give another path"
            ) from error
        with os.fdopen(handle, "wb") as stream:
            stream.write(key)


def commitment(key: bytes, spec: dict[str, Any]) -> str:
    """Return ``hmac-sha256:<hex>`` of a spec under the key.

    Raises:
        InputError: the key has another length than 32 bytes.
        ValueError: the spec is no JSON.
    """
    code = hmac.new(checked_key(key), canonical_json(spec), hashlib.sha256)
    return "hmac-sha256:" + code.hexdigest()


def verify(committed: str, key: bytes, spec: dict[str, Any]) -> None:
    """Check that a key and a spec are the ones that were committed to.

    Raises:
        InputError: the key has another length, or key or spec was changed.
    """
    if not hmac.compare_digest(commitment(key, spec).encode(), committed.encode()):
        raise InputError("the key or the spec of the marks is not the committed one", hint=_REMEDY)


def write_reveal(path: Path, key: bytes, spec: dict[str, Any]) -> str:
    """Write the file to keep sealed until an audit, and return the commitment.

    Raises:
        InputError: the key has another length than 32 bytes.
        StorageError: the disk is full.
    """
    committed = commitment(key, spec)
    content = {"schema": REVEAL_SCHEMA, "commitment": committed, "key": key.hex(), "spec": spec}
    # Nobody else may read the key, not even before a change of mode.
    mask = os.umask(0o077)
    try:
        atomic_write(path, pretty_json(content))
    finally:
        os.umask(mask)
    return committed


def read_reveal(path: Path, committed: str) -> Reveal:
    """Return the key and spec of a reveal file, checked against the commitment of a ledger.

    Raises:
        InputError: the file cannot be read, is malformed, or reveals something else.
    """
    try:
        content = json.loads(path.read_bytes())
        schema, spec = content["schema"], content["spec"]
        key = bytes.fromhex(content["key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} reveals no marks: {error}", hint=_REMEDY) from error
    if schema != REVEAL_SCHEMA or not isinstance(spec, dict):
        raise InputError(f"{path}: this release reads {REVEAL_SCHEMA}, found {schema}")
    verify(committed, key, spec)
    return Reveal(key, spec, committed)
