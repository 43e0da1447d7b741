"""Peak memory of an audit follows the number of probes by little."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROCESS = Path(__file__).with_name("probe_memory.py")
SIZES = (240, 960)
STAGES = ("sample", "read", "score", "cross", "measure", "judge", "report")
MOST, MOST_OWN = 90_000, 45_000
"""Bytes a probe, by which the peak may grow between the two sizes, with and without pages of mapped
files: see reports/benchmarks/probes.md. Blocks fill up to there; from 1,000 probes on the highest
of all stages grows by 1,500. Before arrays were worked on in blocks it was 129,000."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_peak_memory_grows_by_little_with_each_probe(tmp_path):
    peaks = []
    for size in SIZES:
        folder = tmp_path / str(size)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, str(PROCESS), str(size), str(folder)],
            capture_output=True,
            check=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        peaks.append(json.loads(done.stdout.splitlines()[-1]))
    whole, own = (
        {name: (large[name] - small[name]) / (SIZES[1] - SIZES[0]) for name in STAGES}
        for small, large in (peaks, [one["own"] for one in peaks])
    )
    assert min(peaks[0]["own"][name] for name in STAGES) > 100_000_000  # it was measured at all
    assert max(whole.values()) < MOST, whole
    assert max(own.values()) < MOST_OWN, own
