"""Cases of all tests have one key of salts and one number of threads: their bytes are compared."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "models"))

from proxy_process import Proxy, fault_proxy
from server_process import ModelServer


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


@pytest.fixture
def server(served: ModelServer) -> Iterator[ModelServer]:
    """The server of a folder's tests (`served`), without faults and settings of another test."""
    served.control()
    yield served
    served.control()


@pytest.fixture(scope="module")
def proxied(served: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy process in front of `served`; of a module: `served` differs by folder."""
    with fault_proxy(served.root, served.model, tmp_path_factory.mktemp("proxy")) as running:
        yield running


@pytest.fixture
def proxy(proxied: Proxy, server: ModelServer) -> Proxy:
    """The proxy, it and its server without faults and settings of another test."""
    proxied.control()
    return proxied


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests time: they train and serve real models, two at a time."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1200))
