import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from auditor.case import Case, atomic_write, locked, open_case, storage_errors
from auditor.errors import CaseError, StorageError


def test_the_same_plan_continues_the_case(tmp_path):
    open_case(tmp_path / "c", {"a": 1})
    (tmp_path / "c" / "data" / "x.json").write_text("{}")
    assert open_case(tmp_path / "c", {"a": 1}).read_json("x.json") == {}


def test_another_plan_is_refused_and_the_difference_is_named(tmp_path):
    open_case(tmp_path / "c", {"a": 1, "seed": 0})
    before = (tmp_path / "c" / "data" / "plan.json").read_bytes()
    with pytest.raises(CaseError, match="differs in: seed"):
        open_case(tmp_path / "c", {"a": 1, "seed": 1})
    assert (tmp_path / "c" / "data" / "plan.json").read_bytes() == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("do not touch")
    with pytest.raises(CaseError, match="not a case folder"):
        open_case(tmp_path, {"a": 1})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.tex"]


def test_only_one_process_works_on_a_case(tmp_path):
    case = open_case(tmp_path / "c", {"a": 1})
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from auditor.case import Case, locked
        from auditor.errors import CaseError
        try:
            with locked(Case(Path(sys.argv[1]))):
                print("got it")
        except CaseError as error:
            print(error.message)
        """
    )
    command = [sys.executable, "-c", code, str(case.root)]
    with locked(case):
        held = subprocess.run(command, capture_output=True, text=True).stdout
    free = subprocess.run(command, capture_output=True, text=True).stdout
    assert "another process" in held
    assert free == "got it\n"


def test_missing_and_broken_files_are_named(tmp_path):
    case = Case(tmp_path)
    with pytest.raises(CaseError, match=r"plan\.json is missing"):
        case.read_json("plan.json")
    case.data.mkdir()
    (case.data / "plan.json").write_text("{")
    with pytest.raises(CaseError, match="not JSON"):
        case.read_json("plan.json")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        atomic_write(tmp_path / "f", b"old")
        with pytest.raises(StorageError, match="no space left") as caught:
            atomic_write(tmp_path / "f", b"x" * 200_000)
        assert (tmp_path / "f").read_bytes() == b"old"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["f"]
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert "repeat the command" in caught.value.hint
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_place_that_cannot_be_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("x")
    places = ("file/x", "file/x/y", "n" * 300, "file/x.part/y")
    for path in (*(tmp_path / place for place in places), Path("/proc/x")):
        with pytest.raises(StorageError, match="cannot be made") as caught:
            atomic_write(path, b"x")
        assert "another place" in caught.value.hint


def test_other_files_that_are_missing_are_no_matter_of_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path / "out"):
        (tmp_path / "source").read_bytes()


def test_a_file_is_no_case(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CaseError, match=r"plan\.json is missing"):
        Case(tmp_path / "file").read_json("plan.json")
