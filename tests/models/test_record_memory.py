"""Files of recorded outputs are read in pieces: memory does not grow with them."""

import json
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
def test_eight_times_the_replies_need_no_more_memory(tmp_path, write):
    few, many = 1_000, 8_000  # 10 MB and 80 MB of text
    found = []
    for count in (few, many):
        write(tmp_path / f"{count}.{write.__name__[6:]}", count)
        replies, most = peak(str(tmp_path / f"{count}.{write.__name__[6:]}"))
        assert replies == count
        found.append(most)
    assert found[1] - found[0] < 40_000
