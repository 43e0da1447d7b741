"""A finished case and a sealed copy of it, made once; tests must not change them."""

import pytest
from seal_world import finished_case

from auditor.sealing import seal_case


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return a draft that may be sealed."""
    return finished_case(tmp_path_factory.mktemp("finished") / "case")


@pytest.fixture(scope="session")
def sealed(finished, tmp_path_factory):
    """Return the draft, sealed and not signed."""
    return seal_case(finished, tmp_path_factory.mktemp("sealed") / "case.evidence")
