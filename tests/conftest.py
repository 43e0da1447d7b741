"""Cases of all tests have one key of salts and one number of threads: their bytes are compared."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def salt_key(tmp_path_factory) -> Path:
    """Have this process, and those that it starts, salt record lines with one key."""
    path = tmp_path_factory.mktemp("salts") / "salt.key"
    path.write_bytes(bytes(range(32)))
    os.environ["AUDITOR_SALT_KEY"] = str(path)
    return path


@pytest.fixture(scope="session")
def usual_threads() -> int:
    """Return how many threads torch has of itself."""
    import torch

    return torch.get_num_threads()


@pytest.fixture(autouse=True)
def threads_as_before(usual_threads: int) -> Iterator[None]:
    """Give torch its threads back after each test: a case states how many there were."""
    import torch

    yield
    torch.set_num_threads(usual_threads)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests time: they train and serve real models, two at a time."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1200))
