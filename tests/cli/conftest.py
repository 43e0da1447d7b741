import shutil
from pathlib import Path

import pytest
from command_line import TINY
from server_process import model_server


@pytest.fixture
def tiny_copy(tmp_path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(TINY / "independent", tmp_path / "suspect"))


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A server process with a tiny model that ships."""
    with model_server(TINY / "independent", tmp_path_factory.mktemp("server")) as running:
        yield running
