"""A finished case and a sealed copy of it, made once; tests must not change them."""

import json
from types import SimpleNamespace

import pytest
from redact_world import redacted, told_case
from seal_world import finished_case
from tsa_world import Authority

from auditor.bundle.keys import load_private_key, new_key
from auditor.cli.main import run
from auditor.sealing import Signing, seal_case


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return a draft that may be sealed."""
    return finished_case(tmp_path_factory.mktemp("finished") / "case")


@pytest.fixture(scope="session")
def sealed(finished, tmp_path_factory):
    """Return the draft, sealed and not signed."""
    return seal_case(finished, tmp_path_factory.mktemp("sealed") / "case.evidence")


@pytest.fixture(scope="session")
def signed(finished, tmp_path_factory):
    """Return the draft, sealed and signed: ``root``, and the ``public`` and ``private`` key."""
    folder = tmp_path_factory.mktemp("signed")
    pair = new_key(folder)
    signing = Signing(key=load_private_key(pair.private))
    root = seal_case(finished, folder / "case.evidence", signing).root
    return SimpleNamespace(root=root, public=pair.public, private=pair.private)


@pytest.fixture(scope="session")
def told(tmp_path_factory):
    """Return a signed case of known replies: ``root``, ``case``, ``public``, ``private``."""
    folder = tmp_path_factory.mktemp("told")
    pair = new_key(folder)
    signing = Signing(key=load_private_key(pair.private))
    case = told_case(folder / "draft")
    root = seal_case(case, folder / "case.evidence", signing).root
    return SimpleNamespace(root=root, case=case, public=pair.public, private=pair.private)


@pytest.fixture(scope="session")
def copy_of_told(told, tmp_path_factory):
    """Return a redacted copy: half of the known replies and one of the reference are withheld."""
    folder = tmp_path_factory.mktemp("copy")
    pair = new_key(folder)
    key = load_private_key(pair.private)
    rules = ("text:Zebra .* of ood-", "record:teacher/instructions@1#0")
    root = redacted(told.root, folder / "case.redacted", *rules, key=key)
    return SimpleNamespace(root=root, public=pair.public, private=pair.private)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Return a time-stamp authority."""
    return Authority(tmp_path_factory.mktemp("tsa"))


@pytest.fixture
def do(capsys):
    """Return what runs a command: its exit code, and its JSON object."""

    def done(*words):
        capsys.readouterr()
        code = run([str(word) for word in (*words, "--json")])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, json.loads(said.out)

    return done


@pytest.fixture
def place(tmp_path):
    """Return an empty folder that a test looks at."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder
