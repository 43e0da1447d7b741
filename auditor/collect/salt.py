"""Salts of record lines: a withheld short answer cannot be guessed from the hash of its line.

A salt follows from a key of the case, so a resumed collection writes the bytes of one that was not
interrupted. The key lies in ``work/``, which a sealed case has not.
"""

import hmac
import os
import secrets
from pathlib import Path

from auditor.case import Case, atomic_stream
from auditor.errors import CaseError

VARIABLE = "AUDITOR_SALT_KEY"
"""Environment variable that names a file with the key of new cases, for cases of equal bytes."""
KEY_BYTES = 32
_SALT_BYTES = 16


class LineSalts:
    """The salts of one record file."""

    def __init__(self, case: Case, path: Path) -> None:
        """Take the case's key, made here where it has none; the caller holds the lock.

        Raises:
            CaseError: the key, or the file that the environment names, is no key.
            StorageError: the disk refused the key.
        """
        self._key = case_key(case)
        self._file = path.relative_to(case.data).as_posix()

    def of_line(self, number: int) -> str:
        """Return the salt of a line: HMAC-SHA256 of ``FILE|NUMBER``, its first 16 bytes as hex."""
        message = f"{self._file}|{number}".encode()
        return hmac.digest(self._key, message, "sha256")[:_SALT_BYTES].hex()


def key_path(case: Case) -> Path:
    """Return where the key of a case lies."""
    return case.work / "salt.key"


def case_key(case: Case) -> bytes:
    """Return the key of a case, made here where it has none; the caller holds the lock.

    Raises:
        CaseError, StorageError: as `LineSalts`.
    """
    path = key_path(case)
    if path.is_file():
        return _read(path)
    given = os.environ.get(VARIABLE)
    key = secrets.token_bytes(KEY_BYTES) if given is None else _read(Path(given))
    with atomic_stream(path) as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(key)
    return key


def _read(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise CaseError(f"{path} cannot be read: {error.strerror}", hint=_KEY) from error
    if len(key) != KEY_BYTES:
        raise CaseError(f"{path} holds {len(key)} bytes", hint=_KEY)
    return key


_KEY = f"a key of salts has {KEY_BYTES} random bytes; ${VARIABLE} may name a file with one"
