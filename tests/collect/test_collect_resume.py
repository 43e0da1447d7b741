"""A run that dies, or meets a full disk, and is repeated gives the bytes of one that did not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from collect_world import collected
from full_disk import room_for

from auditor.canon import directory_digests
from auditor.errors import CaseError, StorageError
from auditor.pairing import load_pair

KILLER = Path(__file__).with_name("collect_killer.py")


def digests(case):
    found = directory_digests(case.data)
    found.pop("custody.jsonl")
    return found


def events(case):
    return [json.loads(line) for line in (case.data / "custody.jsonl").read_bytes().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(small_plan, tmp_path_factory):
    return collected(tmp_path_factory.mktemp("whole") / "case", small_plan)


def test_run_killed_at_random_moments_gives_the_same_bytes(uninterrupted, small_plan, tmp_path):
    plan_file = tmp_path / "plan.json"
    plan_file.write_text(json.dumps(small_plan))
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(KILLER), str(tmp_path / "case"), str(plan_file), "11"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3
    case = collected(tmp_path / "case", small_plan)  # complete: does nothing
    assert digests(case) == digests(uninterrupted)
    assert not list(case.data.rglob("*.part"))
    assert sum(event["event"] == "collecting" for event in events(case)) >= 3
    assert {path.stem for path in case.data.glob("arrays/crossing/*")} == {"reference", "foreign"}


@pytest.mark.parametrize("size", [3_000, 40_000])
def test_full_disk_is_an_error_that_names_the_file_and_the_run_goes_on_later(
    uninterrupted, small_plan, tmp_path, size
):
    # 3 kB: the copy of a suite; 40 kB: the arrays.
    with room_for(size), pytest.raises(StorageError, match="no space left for") as failure:
        collected(tmp_path / "case", small_plan)
    assert "repeat the command" in failure.value.hint
    case = collected(tmp_path / "case", small_plan)
    assert digests(case) == digests(uninterrupted)


def test_cut_of_a_torn_record_is_logged(uninterrupted, small_plan, tmp_path):
    case = copy_without_end(uninterrupted, small_plan, tmp_path)
    path = case.data / "records/reference/reasoning@1.jsonl"
    content = path.read_bytes()
    path.unlink()
    path.with_name(path.name + ".part").write_bytes(content[:-7])
    case = collected(case.root, small_plan)
    assert digests(case) == digests(uninterrupted)
    cuts = [event for event in events(case) if event["event"] == "cut"]
    assert [cut["file"] for cut in cuts] == ["data/records/reference/reasoning@1.jsonl"]
    assert cuts[0]["bytes"] > 0


def test_changed_record_stops_the_run_and_the_reader(uninterrupted, small_plan, tmp_path):
    case = copy_without_end(uninterrupted, small_plan, tmp_path)
    path = case.data / "records/reference/reasoning@1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"repeat":1', b'"repeat":0', 1))
    with pytest.raises(CaseError, match="reasoning@1"):
        collected(case.root, small_plan)
    with pytest.raises(CaseError, match="reasoning@1"):
        load_pair(uninterrupted.__class__(case.root), "reference", "other")


def copy_without_end(case, plan, folder):
    """Return a copy of a case that lacks the files that declare it complete."""
    import shutil

    shutil.copytree(case.root, folder / "copy")
    shutil.rmtree(folder / "copy" / "data" / "collected")
    return case.__class__(folder / "copy")


def test_number_of_flushes_does_not_show_in_the_bytes(
    uninterrupted, small_plan, tmp_path, monkeypatch
):
    # As a large model: every batch, and the replies to every probe, are written at once.
    monkeypatch.setattr("auditor.collect.forcing._FLUSHED_WORK", 1)
    monkeypatch.setattr("auditor.collect.crossed_replies._FLUSHED", 1)
    flushes = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: flushes.append(file) or real(file))
    case = collected(tmp_path / "case", small_plan)
    assert digests(case) == digests(uninterrupted)
    many = len(flushes)
    monkeypatch.setattr("auditor.collect.forcing._FLUSHED_WORK", 1 << 36)
    collected(tmp_path / "small", small_plan)
    assert len(flushes) - many < many - 20
