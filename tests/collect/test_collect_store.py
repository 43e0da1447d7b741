"""Record lines and arrays on disk, torn at every place that a crash can tear them."""

import hashlib
import io
import json

import numpy as np
import pytest
from full_disk import room_for

from auditor.collect.arrays import ArrayReader, ArrayWriter
from auditor.collect.store import RecordWriter, part_path
from auditor.errors import CaseError, StorageError
from auditor.outputs import POSITION

BATCHES = [[{"text": "a"}, {"text": "ü"}], [{"text": ""}], [{"text": "d"}, {"text": "e\n"}]]
ENDS = [2, 3, 5]


def write_records(path, batches, ends=ENDS):
    with RecordWriter(path, ends) as writer:
        for batch, end in zip(batches, ends, strict=True):
            if end > writer.lines:
                writer.append(batch)
        writer.finish()
    return path.read_bytes()


def test_each_line_holds_the_leaf_hash_of_the_line_before(tmp_path):
    lines = write_records(tmp_path / "r.jsonl", BATCHES).split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line)["seq"] for line in lines] == [0, 1, 2, 3, 4]
    # RFC 9162: a leaf is hashed after a zero byte.
    hashes = [hashlib.sha256(b"\0" + line).hexdigest() for line in lines]
    assert [json.loads(line)["prev"] for line in lines] == ["", *hashes[:-1]]


def test_file_cut_anywhere_is_continued_to_the_same_bytes(tmp_path):
    whole = write_records(tmp_path / "whole.jsonl", BATCHES)
    ends_of_lines = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    bytes_of_batches = [0, *(ends_of_lines[end - 1] for end in ENDS)]
    edges = {end + step for end in (0, *ends_of_lines) for step in (-1, 0, 1)}
    for size in sorted({*range(0, len(whole), 29), *edges} & set(range(len(whole) + 1))):
        path = tmp_path / f"cut{size}.jsonl"
        part_path(path).write_bytes(whole[:size])
        with RecordWriter(path, ENDS) as writer:
            # The longest run of whole batches stays.
            assert size - writer.cut == max(b for b in bytes_of_batches if b <= size)
        assert write_records(path, BATCHES) == whole


@pytest.mark.parametrize("change", ["edit", "delete", "swap", "garbage"])
def test_changed_line_is_refused_and_not_cut(tmp_path, change):
    lines = write_records(tmp_path / "whole.jsonl", BATCHES).splitlines(keepends=True)
    changed = {
        "edit": [lines[0], lines[1].replace(b"\xc3\xbc", b"u"), *lines[2:]],
        "delete": [lines[0], *lines[2:]],
        "swap": [lines[1], lines[0], *lines[2:]],
        "garbage": [b"\0\0\0\n", *lines[1:]],
    }[change]
    path = tmp_path / "r.jsonl"
    part_path(path).write_bytes(b"".join(changed))
    with pytest.raises(CaseError, match="does not continue the chain"):
        RecordWriter(path, ENDS)
    assert part_path(path).read_bytes() == b"".join(changed)


def test_record_that_the_disk_refuses_costs_only_itself(tmp_path):
    whole = write_records(tmp_path / "whole.jsonl", BATCHES)
    path = tmp_path / "r.jsonl"
    refused = pytest.raises(StorageError, match=r"no space left for .*r\.jsonl")
    with room_for(len(whole) - 10), refused:
        write_records(path, BATCHES)
    # What fitted was written: the tail is torn, and cut on the next opening.
    assert part_path(path).stat().st_size == len(whole) - 10
    assert write_records(path, BATCHES) == whole


def saved(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write_array(path, array, ends, *, rows_known=True):
    rows = len(array) if rows_known else None
    with ArrayWriter(path, array.dtype, rows, array.shape[1:]) as writer:
        start = writer.resume([0, *ends])
        for end in ends:
            if end > start:
                writer.append(array[start:end])
                start = end
        writer.finish()
    return path.read_bytes()


ROWS = np.arange(28, dtype=np.float32).reshape(7, 4)


@pytest.mark.parametrize(
    "array",
    [ROWS, ROWS[:0], np.arange(5, dtype=np.uint16), np.zeros(3, dtype=POSITION)],
    ids=["rows", "no rows", "scalars", "structured"],
)
@pytest.mark.parametrize("rows_known", [True, False])
def test_finished_array_has_the_bytes_of_numpy_save(tmp_path, array, rows_known):
    ends = sorted({min(2, len(array)), len(array)})
    found = write_array(tmp_path / "a.npy", array, ends, rows_known=rows_known)
    assert found == saved(array)


def test_array_cut_anywhere_is_continued_to_the_same_bytes(tmp_path):
    whole = saved(ROWS)
    for size in (0, 1, 127, *range(128, len(whole) + 1, 5)):
        path = tmp_path / f"cut{size}.npy"
        part_path(path).write_bytes(whole[:size])
        assert write_array(path, ROWS, [3, 4, 7]) == whole


def test_only_whole_batches_of_rows_are_kept(tmp_path):
    path = tmp_path / "a.npy"
    # 128 bytes of header, 16 bytes a row: five rows and 5 bytes of the sixth.
    part_path(path).write_bytes(saved(ROWS)[: 128 + 5 * 16 + 5])
    with ArrayWriter(path, np.float32, 7, (4,)) as writer:
        assert writer.resume([0, 3, 4, 7]) == 4
        assert writer.cut == 16 + 5
        assert writer.rows == 4


def test_unfinished_array_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    part_path(path).write_bytes(saved(ROWS))
    with pytest.raises(CaseError, match="holds another array"):
        ArrayWriter(path, np.float32, 8, (4,))


def test_array_refuses_rows_that_do_not_fit(tmp_path):
    with ArrayWriter(tmp_path / "a.npy", np.float32, 2, (4,)) as writer:
        with pytest.raises(ValueError, match="rows of shape"):
            writer.append(np.zeros((1, 3)))
        with pytest.raises(ValueError, match="3 rows, the array has 2"):
            writer.append(np.zeros((3, 4)))
        writer.append(np.zeros((1, 4)))
        with pytest.raises(ValueError, match="1 of 2 rows"):
            writer.finish()
    assert not (tmp_path / "a.npy").exists()


def test_rows_that_the_disk_refuses_cost_only_their_batch(tmp_path):
    path = tmp_path / "a.npy"
    with room_for(128 + 6 * 16), pytest.raises(StorageError, match="no space left"):
        write_array(path, ROWS, [3, 7])
    assert write_array(path, ROWS, [3, 7]) == saved(ROWS)


def test_reader_returns_the_rows_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    reader = ArrayReader(tmp_path / "a.npy")
    assert reader.read(2, 5).tolist() == ROWS[2:5].tolist()
    assert reader.read(7, 7).shape == (0, 4)
