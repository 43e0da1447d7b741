"""A file that one process works on at a time."""

import contextlib
import fcntl
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from auditor.case import storage_errors
from auditor.errors import InputError


@contextlib.contextmanager
def held(path: Path, option: str) -> Iterator[FileIO]:
    """Yield a file to read and to add to, made where it is missing, and held until the end.

    Args:
        path: the file.
        option: that named it, for the hint.

    Raises:
        InputError: another process holds it, or it cannot be opened.
        StorageError: it may not be written.
    """
    try:
        with storage_errors(path):
            stream = FileIO(path, "a+")
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened: {error.strerror}",
            hint=f"give {option} a file in a folder that exists",
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{path} cannot be held: {error.strerror}; another process may work on it",
                hint=f"wait for it to end, or give another {option}",
            ) from error
        yield stream
