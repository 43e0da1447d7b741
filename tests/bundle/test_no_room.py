"""A folder that may not be written, or a full disk, is named, and the command can be repeated."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from command_world import SIGNATURE, commands, stamped, tree
from full_disk import room_for
from other_user import no_root
from seal_world import files_of
from verify_world import copied

from auditor.cli.main import run


@contextlib.contextmanager
def nobody_may_write(folder):
    """Act as a user who may read a folder and not write to it."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with no_root():
            yield
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def readable():
    """Return a folder that every user can reach, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="auditor-read-only-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "name", ["seal", "sign", "report", "measure", "certify", "export", "crate", "request", "attach"]
)
def test_a_folder_that_may_not_be_written_is_named(
    capsys, do, finished, signed, authority, readable, tmp_path, name
):
    draft, sealed = readable / "case", copied(signed.root, readable / "case.evidence")
    shutil.copytree(finished.data, draft / "data")
    key = shutil.copy(signed.private, readable / "key.pem")
    answer = stamped(do, sealed, authority, readable)
    words = {
        **commands(sealed, readable, key),
        "seal": ("seal", draft, "--out", readable / "new.evidence"),
        "report": ("report", draft),
        "measure": ("measure", draft),
        "request": ("timestamp", "request", sealed / SIGNATURE),
        "attach": ("timestamp", "attach", sealed / SIGNATURE, answer),
    }[name]
    # Once where it may write: what is imported on the way may be out of another user's reach.
    elsewhere = Path(shutil.copytree(readable, tmp_path / "copy"))
    moved = [str(word).replace(str(readable), str(elsewhere)) for word in words]
    assert run(moved) == 0
    with nobody_may_write(readable):
        before = tree(readable)
        capsys.readouterr()
        code = run([str(word) for word in words])
        assert tree(readable) == before
    said = capsys.readouterr().err
    assert code == 2, said
    assert "not allowed to write" in said
    assert "hint: " in said


def test_verify_needs_no_permission_to_write(do, signed, readable):
    case = copied(signed.root, readable / "case.evidence")
    public_key = shutil.copy(signed.public, readable / "key.pem")
    words = ("verify", case, "--key", public_key)
    assert do(*words)[0] == 0
    with nobody_may_write(readable):
        assert do(*words)[0] == 0


@pytest.mark.parametrize("most", [1_000, 20_000])
def test_a_seal_that_meets_a_full_disk_is_repeated(do, finished, place, most):
    shutil.copytree(finished.data, place / "case" / "data")
    words = ("seal", place / "case", "--out", place / "case.evidence")
    with room_for(most):
        code, printed = do(*words)
    assert code == 2
    assert printed["error"]["type"] == "StorageError"
    assert "no space left" in printed["error"]["message"]
    assert "repeat the command" in printed["error"]["hint"]
    assert {path.name for path in place.iterdir()} == {"case"}
    assert do(*words)[0] == 0
    assert do("verify", place / "case.evidence", "--min-level", "L1")[0] == 0


@pytest.mark.parametrize("most", [300, 3_000, 50_000])
def test_a_collection_that_meets_a_full_disk_goes_on(capsys, finished, place, most):
    # 300 bytes: the custody log; 3 kB: the copy of a suite; 50 kB: an array of likely tokens.
    case = place / "case"
    (case / "data").mkdir(parents=True)
    shutil.copy(finished.data / "plan.json", case / "data")
    with room_for(most):
        code = run(["collect", str(case)])
    said = capsys.readouterr().err
    assert code == 2, said
    assert "no space left for" in said
    assert "repeat the command" in said
    assert run(["seal", str(case)]) == 2
    assert "the case is incomplete" in capsys.readouterr().err
    assert run(["collect", str(case)]) == 0
    whole = {name: raw for name, raw in files_of(finished.data).items() if in_collection(name)}
    assert {n: raw for n, raw in files_of(case / "data").items() if in_collection(n)} == whole


def in_collection(name):
    """Whether a file below data/ is written by the collection, and holds no times."""
    late = ("statistics", "conclusion", "report", "result", "custody")
    return not name.startswith(late)
