"""Peak memory does not follow the size of the text."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from distill_world import WORDS

from auditor.distill.documents import read_sources
from auditor.distill.ledger_samples import write_sequences
from auditor.distill.packed import PackedSequences
from auditor.distill.recipe import recipe_from
from auditor.distill.sequences import document_rows
from auditor.models.byte_tokenizer import byte_tokenizer

PROCESS = Path(__file__).with_name("streaming_memory.py")


def traced_peak(folder: Path, documents: int) -> int:
    """Bytes that reading, filtering, packing and listing documents of 5 kB need at once."""
    rng = np.random.RandomState(0)
    folder.mkdir()
    with (folder / "text.txt").open("w") as stream:
        for _ in range(documents):
            stream.write(" ".join(WORDS[n] for n in rng.randint(0, len(WORDS), 1000)) + "\n\n")
    init = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "tokenizer": "bytes"}
    values = {
        "student": {"init": init},
        "data": {"text": "text.txt", "filters": [{"kind": "length", "min_characters": 9}]},
        "method": {"kind": "baseline"},
        "train": {"steps": 1},
    }
    recipe, tokenizer = recipe_from(values, folder), byte_tokenizer()
    tracemalloc.start()
    try:
        texts = read_sources(recipe).documents
        packed = PackedSequences(folder / "packed", "text")
        packed.write(document_rows(texts, tokenizer, 256, packing=True))
        store = packed.open()
        write_sequences(folder / "sequences.jsonl", store)
        assert store.targets.sum() > 4500 * documents
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_reading_and_packing_does_not_follow_the_text(tmp_path):
    traced_peak(tmp_path / "warm", 20)  # what is imported and kept once
    small = traced_peak(tmp_path / "small", 80)
    large = traced_peak(tmp_path / "large", 200)
    # 600 kB more text, and 2.4 MB more tokens. What may grow: 56 bytes and some copies of them for
    # each of 120 documents, 13 bytes and copies for each of 2400 sequences.
    assert large - small < 150_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_peak_memory_of_a_run_with_16_times_the_text(tmp_path):
    peaks = {}
    for size in (4, 64):
        folder = tmp_path / str(size)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, str(PROCESS), str(size), str(folder)],
            capture_output=True,
            check=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        peaks[size] = json.loads(done.stdout)["peak_kb"]
    # 60 MB more text in 129,000 more documents, and 245 MB more tokens.
    assert peaks[64] - peaks[4] < 20_000
