import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from distill_world import make_teacher


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random byte-level teacher with 3 layers."""
    return make_teacher(tmp_path_factory.mktemp("teacher"))
