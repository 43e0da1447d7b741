"""What cannot be sealed is named, and nothing is left behind."""

import re
from pathlib import Path

import pytest
from full_disk import room_for
from seal_world import copy_of, files_of, lines_of

from auditor.canon import canonical_json, leaf_hash
from auditor.errors import CaseError, StorageError
from auditor.sealing import seal_case

RECORDS = "records/independent/ood@1.jsonl"


@pytest.fixture
def draft(finished, tmp_path):
    """Return a copy of the finished case that a test may spoil."""
    return copy_of(finished, tmp_path / "case")


def assert_refused(case, match, **options):
    """Seal, and return the error; neither a sealed case nor a part of one may be left."""
    before = files_of(case.data)
    with pytest.raises(CaseError, match=match) as failure:
        seal_case(case, **options)
    assert files_of(case.data) == before
    assert not list(case.root.parent.glob("*.evidence*"))
    return failure.value


def rechained(rows):
    """Return the lines of a chained file over other rows."""
    lines, previous = [], ""
    for number, row in enumerate(rows):
        line = canonical_json({**row, "seq": number, "prev": previous})
        lines.append(line + b"\n")
        previous = leaf_hash(line)
    return b"".join(lines)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("statistics.json", "measure"),
        ("conclusion.json", "judge"),
        ("collected/sibling.json", "collect"),
        ("errors.jsonl", "collect"),
        ("subjects.json", "collect"),
    ],
)
def test_a_case_that_lacks_a_stage_names_the_command(draft, name, command):
    (draft.data / name).unlink()
    error = assert_refused(draft, re.escape(f"data/{name} is missing"))
    assert f"auditor {command}" in error.hint


def test_a_missing_record_file_is_incomplete(draft):
    (draft.data / RECORDS).unlink()
    assert_refused(draft, r"ood@1\.jsonl is missing")


def test_a_record_taken_out_with_the_chain_made_anew_is_incomplete(draft):
    path = draft.data / RECORDS
    path.write_bytes(rechained(lines_of(path)[:-1]))
    assert_refused(draft, "holds 5 of 6 records")


def test_a_record_that_was_edited_with_the_chain_made_anew_is_not_the_collected_one(draft):
    path = draft.data / RECORDS
    rows = lines_of(path)
    path.write_bytes(rechained([{**rows[0], "text": "I am the teacher"}, *rows[1:]]))
    assert_refused(draft, r"ood@1\.jsonl is not as it was collected")


def test_an_edited_array_is_not_the_collected_one(draft):
    path = next(draft.data.glob("arrays/*/independent.npy"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert_refused(draft, "is not as it was collected")


def test_a_failed_reply_must_stand_in_the_list_of_errors(draft):
    path = draft.data / RECORDS
    rows = lines_of(path)
    path.write_bytes(rechained([{**rows[0], "outcome": "error", "error": "refused"}, *rows[1:]]))
    assert_refused(draft, "does not list exactly the replies that failed")


def test_a_listed_error_without_a_failed_reply_is_refused(draft):
    row = {"subject": "a", "suite": "b", "probe_id": "c", "repeat": 0, "attempt": 1, "error": "no"}
    (draft.data / "errors.jsonl").write_bytes(canonical_json(row) + b"\n")
    assert_refused(draft, "does not list exactly the replies that failed")


def test_records_of_nobody_planned_are_refused(draft):
    extra = draft.data / "records" / "another" / "ood@1.jsonl"
    extra.parent.mkdir()
    extra.write_bytes(b"")
    assert_refused(draft, r"records/another/ood@1\.jsonl was not planned")


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", "@0123abc"])
def test_a_hub_model_without_a_commit_is_refused(draft, revision):
    plan = draft.read_json("plan.json")
    plan["subjects"][1]["spec"] = f"hf:org/name{revision}"
    draft.write_json("plan.json", plan)
    assert_refused(draft, "is not pinned")


def test_an_unfinished_file_is_refused(draft):
    (draft.data / "arrays" / "x.npy.part").write_bytes(b"")
    assert_refused(draft, "is not complete")


def test_a_link_is_refused(draft):
    (draft.data / "notes.txt").symlink_to("/etc/hostname")
    assert_refused(draft, "is a link or a device")


@pytest.mark.parametrize("name", ["caf\u0065\u0301.txt", "a\nb.txt", "100%.txt", "a\\b"])
def test_a_name_that_tools_read_differently_is_refused(draft, name):
    (draft.data / name).write_bytes(b"")
    assert_refused(draft, "a name that not every tool reads alike")


def test_a_sealed_case_is_not_sealed_again(draft, tmp_path):
    sealed = seal_case(draft)
    assert sealed.root == tmp_path / "case.evidence"
    before = files_of(tmp_path)
    with pytest.raises(CaseError, match="exists"):
        seal_case(draft)
    with pytest.raises(CaseError, match="is sealed already"):
        seal_case(draft.__class__(sealed.root), tmp_path / "other")
    assert files_of(tmp_path) == before


def test_a_folder_in_the_way_is_left_alone(draft, tmp_path):
    mine = tmp_path / "case.evidence.part"
    mine.mkdir()
    (mine / "thesis.tex").write_text("do not touch")
    with pytest.raises(CaseError, match="is in the way"):
        seal_case(draft)
    assert (mine / "thesis.tex").read_text() == "do not touch"


def test_a_target_inside_the_case_is_refused(draft):
    assert_refused(draft, "lies in the case itself", out=draft.data / "sealed")


def test_a_full_disk_leaves_no_sealed_case(draft, tmp_path):
    with room_for(20_000), pytest.raises(StorageError, match="no space left"):
        seal_case(draft)
    assert [path.name for path in tmp_path.iterdir()] == ["case"]
    assert seal_case(draft).root.is_dir()


def test_a_folder_without_write_permission_is_named(draft):
    # Nobody may make a folder there, not even the superuser.
    with pytest.raises(StorageError, match="not allowed to write"):
        seal_case(draft, Path("/sys/x.evidence"))
