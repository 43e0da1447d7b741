"""Files of recorded outputs are read in pieces: memory does not grow with them."""

import json
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.collect import reply_export
from auditor.errors import RecordsError
from auditor.models import open_model
from auditor.models.records import parquet

READ = """
import sys
from pathlib import Path
from auditor.models.recorded import open_recorded
from auditor.models.specifier import parse
model = open_recorded(parse("records:" + sys.argv[1]))
# Not ru_maxrss, which a child inherits from its parent.
peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l)
print(model.facts.replies, peak.split()[1])
"""
BYTES = 10_000
"""Of one reply."""


def peak(path):
    """Return the replies of a file, and the most kB that a process held that read it."""
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(map(int, done.stdout.split()))


def rows(count):
    random_bytes = random.Random(0)
    for number in range(count):
        yield {"prompt": f"p{number}", "text": random_bytes.randbytes(BYTES // 2).hex()}


def write_jsonl(path, count):
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(count))


def write_parquet(path, count):
    # One group of rows, the worst case for a reader.
    pq.write_table(pa.Table.from_pylist(list(rows(count))), path, row_group_size=10**6)


@pytest.mark.parametrize("write", [write_jsonl, write_parquet])
def test_four_times_the_replies_need_no_more_memory(tmp_path, write):
    # 40 MB and 160 MB of text: Arrow's allocator keeps some 45 MB that the first 20 MB fill.
    few, many = 4_000, 16_000
    found = []
    for count in (few, many):
        write(tmp_path / f"{count}.{write.__name__[6:]}", count)
        replies, most = peak(str(tmp_path / f"{count}.{write.__name__[6:]}"))
        assert replies == count
        found.append(most)
    assert found[1] - found[0] < 40_000


def codes(value, rows):
    """Return a column of rows that all point at one value, which the file holds once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))


def test_a_text_that_stands_in_many_rows_takes_memory_once(tmp_path):
    path, rows = tmp_path / "d.parquet", 48
    texts = pa.array([f"t{number}" for number in range(rows)])
    # Without Arrow's own schema the reader does not know of the dictionary: 384 MB of 1 kB.
    table = pa.table({"prompt": codes("a" * (8 << 20), rows), "text": texts})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 10_000
    pq.write_table(pa.table({"prompt": ["a"], "text": texts[:1]}), tmp_path / "one.parquet")
    replies, most = peak(str(path))
    assert replies == rows
    assert most - peak(str(tmp_path / "one.parquet"))[1] < 200_000


@pytest.mark.parametrize("lists", [False, True])
def test_pages_too_large_are_refused_before_they_are_unpacked(tmp_path, lists):
    path = tmp_path / "d.parquet"
    if lists:  # 40 messages of 8 MB in a row
        turn = pa.StructArray.from_arrays([codes("user", 40), codes("a" * (8 << 20), 40)],
                                          names=["role", "content"])  # fmt: skip
        table = pa.table({"messages": pa.ListArray.from_arrays([0, 40], turn), "text": ["t"]})
    else:
        table = pa.table({"prompt": codes("a" * (257 << 20), 1), "text": ["t"]})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    del table
    before = pa.total_allocated_bytes()
    with pytest.raises(RecordsError, match="MiB when it is unpacked, more than 256") as caught:
        open_model(str(path))
    assert "row_group_size" in caught.value.hint
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_a_row_longer_than_a_line_may_be_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MOST_LINE", 1000)
    path = tmp_path / "d.parquet"
    rows = [{"prompt": "x" * 600, "text": "y" * size} for size in (400, 401)]
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(RecordsError, match="row 2: more than"):
        open_model(str(path))


def test_exports_with_long_log_probabilities_are_written_in_parts_and_read_again(
    tmp_path, monkeypatch
):
    token = {"token": "t", "bytes": [116], "logprob": -0.5, "top_logprobs": []}
    row = {"text": "t", "repeat": 0, "outcome": "ok", "logprobs": [token] * 40_000}  # 2.7 MB
    rows = [{"probe_id": f"p{number}", **row} for number in range(5)]
    monkeypatch.setattr(reply_export, "exported_rows", lambda case, subject: iter(rows))
    path = tmp_path / "d.parquet"
    assert reply_export.write_parquet(None, None, path) == 5
    # 8 MiB are more than three rows of 2.7 MB, and less than four.
    assert pq.ParquetFile(path).metadata.row_group(0).num_rows == 4
    assert open_model(str(path)).facts.scored == 5
