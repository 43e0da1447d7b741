"""Run as a process of its own: distill a corpus of argv[1] MB in argv[2]; print time and memory."""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from distill_world import WORDS

from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill


def write_corpus(path: Path, size: int) -> None:
    """Documents of 100 words and their number, of about 490 bytes."""
    rng = np.random.RandomState(0)
    written = number = 0
    with path.open("w") as stream:
        while written < size:
            text = " ".join(WORDS[n] for n in rng.randint(0, len(WORDS), 100))
            written += stream.write(json.dumps({"text": f"{text} {number}"}) + "\n")
            number += 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[2])
    write_corpus(folder / "text.jsonl", int(sys.argv[1]) << 20)
    init = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "tokenizer": "bytes"}
    values = {
        "student": {"init": {**init, "max_length": 256}},
        "data": {
            "text": "text.jsonl",
            "max_length": 256,
            "holdout_tokens": 1024,
            "filters": [{"kind": "length", "min_words": 3}, {"kind": "duplicate"}],
        },
        "method": {"kind": "baseline"},
        "train": {"steps": 5, "batch_tokens": 1024, "lr": 0.01},
    }
    start = time.perf_counter()
    distill(recipe_from(values, folder), folder / "run")
    found = {
        "seconds": time.perf_counter() - start,
        "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    sys.stdout.write(json.dumps(found) + "\n")
