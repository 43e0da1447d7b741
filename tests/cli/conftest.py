import shutil
from pathlib import Path

import pytest
from command_line import TINY


@pytest.fixture
def tiny_copy(tmp_path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(TINY / "independent", tmp_path / "suspect"))
