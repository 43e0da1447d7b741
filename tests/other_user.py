"""Another user, for tests of rights that root does not need."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_root() -> Iterator[None]:
    """Act as a user without rights where root runs the tests; what is read must be open to all."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
