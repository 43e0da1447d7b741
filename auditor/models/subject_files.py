"""What loading libraries say about a subject's files, as our errors."""

import contextlib
from collections.abc import Iterator

from auditor.errors import AuditorError, SubjectError


@contextlib.contextmanager
def subject_errors(what: str) -> Iterator[None]:
    """Turn whatever a loading library raises on bad files into a SubjectError naming `what`."""
    try:
        yield
    except (AuditorError, MemoryError):
        raise
    except Exception as error:
        # The libraries raise bare Exception (tokenizers), OSError, ValueError, KeyError ...
        message = " ".join(str(error).split())[:300] or type(error).__name__
        raise SubjectError(
            f"{what} cannot be read: {message}",
            hint="check that the files are complete and of an architecture transformers knows",
        ) from error
