"""Sequences whose items lie in a file without a name."""

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from full_disk import room_for

from auditor.errors import StorageError
from auditor.mapped import mapped
from auditor.on_disk import Batches, OnDisk

WORDS = ["one", "", "drei", "vier", "fünf"]


def kept(folder: Path, words: list[str]) -> OnDisk[str]:
    return OnDisk(folder, iter(words), str.encode, bytes.decode)


def test_items_come_back_in_order_and_at_their_place(tmp_path):
    found = kept(tmp_path / "new", WORDS)
    assert list(found) == WORDS
    assert (len(found), found[0], found[-1]) == (5, "one", "fünf")
    assert found[1:4] == ["", "drei", "vier"]
    assert "vier" in found
    with pytest.raises(IndexError):
        found[5]
    assert list(kept(tmp_path, [])) == []


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_the_file_has_no_name_and_is_closed_with_its_last_reader(tmp_path):
    before = open_files()
    found = kept(tmp_path, WORDS)
    assert not list(tmp_path.iterdir())
    assert open_files() == before + 1
    del found
    gc.collect()
    assert open_files() == before


def test_a_full_disk_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=f"no space left for {tmp_path}"), room_for(1_000):
        kept(tmp_path, ["x" * 1_001])


def test_an_array_that_finds_no_room_is_a_storage_error():
    with pytest.raises(StorageError, match="no space left for"), room_for(1_000):
        mapped((1 << 17,), np.uint8, lambda values: None)


@pytest.mark.parametrize("size", [4, 1 << 17])  # in memory, in a file
def test_an_array_is_zero_where_nothing_was_written_and_then_read_only(size):
    def fill(values):
        values[1] = 7

    found = mapped((size,), np.int32, fill)
    assert (found[:3].tolist(), int(found.sum())) == ([0, 7, 0], 7)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_memory_holds_eight_bytes_an_item(tmp_path):
    tracemalloc.start()
    found = OnDisk(tmp_path, ("x" * 1000 for _ in range(10_000)), str.encode, bytes.decode)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(found[9_999]) == 1000
    assert held < 10_000 * 8 * 1.25 + 20_000  # an array grows by an eighth more than it needs


def test_batches_are_read_by_their_places(tmp_path):
    batches = Batches(kept(tmp_path, WORDS), [[4, 0], [2]])
    assert list(batches) == [["fünf", "one"], ["drei"]]
    assert (len(batches), batches[1]) == (2, ["drei"])
