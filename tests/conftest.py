"""Cases of all tests have the same key of salts, so that their bytes can be compared."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def salt_key(tmp_path_factory) -> Path:
    """Have this process, and those that it starts, salt record lines with one key."""
    path = tmp_path_factory.mktemp("salts") / "salt.key"
    path.write_bytes(bytes(range(32)))
    os.environ["AUDITOR_SALT_KEY"] = str(path)
    return path
