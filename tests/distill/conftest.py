import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from distill_world import make_teacher
from server_process import model_server


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random byte-level teacher with 3 layers."""
    return make_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server process with the tiny teacher that ships, which writes plain ASCII."""
    from auditor.models.tiny import tiny_folder

    with model_server(tiny_folder("teacher"), tmp_path_factory.mktemp("server")) as running:
        yield running
