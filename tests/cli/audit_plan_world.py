"""A run whose student carries a canary."""

import json
from pathlib import Path

from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill

SIBLINGS = 99


def marked_run(folder: Path) -> Path:
    """Train a small student on few sentences and one canary, 30 times over; p can reach 1/100."""
    (folder / "fixed.key").write_bytes(bytes(range(100, 132)))
    texts = [f"The cat sat on wall number {n} while rain fell." for n in range(6)]
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (folder / "text.jsonl").write_text("".join(lines))
    init = {"architecture": "llama", "hidden": 32, "layers": 1, "heads": 2, "max_length": 96}
    values = {
        "student": {"init": {**init, "tokenizer": "bytes"}},
        "data": {
            "text": "text.jsonl",
            "max_length": 96,
            "packing": True,
        },
        "method": {"kind": "baseline"},
        "train": {"steps": 40, "batch_tokens": 512, "lr": 0.02},
        "marks": {
            "canaries": {"sets": 1, "siblings": SIBLINGS, "repetitions": 30},
            "alpha": 0.05,
            "key": "fixed.key",
        },
    }
    distill(recipe_from(values, folder), folder / "marked")
    return folder / "marked"
