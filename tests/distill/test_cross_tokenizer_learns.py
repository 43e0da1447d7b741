"""A student of other merges learns from the teacher, beside the same recipe without one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from cross_world import TEACHER
from distill_world import write_permission

from auditor.controls.material import bpe_tokenizer
from auditor.distill.corpus import generate_corpus
from auditor.distill.recipe import recipe_from
from auditor.distill.recipe_student import Init
from auditor.distill.run import distill
from auditor.distill.student import random_module


def almanac_tokenizer(folder: Path) -> None:
    """384 ids merged on the almanac, in a folder that a recipe can name."""
    torch.manual_seed(0)
    documents = list(generate_corpus("almanac", seed=7, documents=500))
    tokenizer = bpe_tokenizer(documents, 384)
    init = Init(architecture="llama", hidden=16, layers=1, heads=2)
    random_module(init, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def run(folder: Path, name: str, method: dict[str, Any], **more: Any) -> dict[str, Any]:
    init = {"architecture": "llama", "hidden": 48, "layers": 2, "heads": 4, "max_length": 160}
    values = {
        "student": {"init": {**init, "tokenizer": "local:own"}},
        "data": {
            "corpus": {"name": "stories", "seed": 5, "documents": 100},
            "max_length": 128,
            "holdout": 0.2,
        },
        "method": method,
        "train": {"steps": 120, "batch_tokens": 1024, "lr": 0.006, "seed": 1},
        **more,
    }
    found: dict[str, Any] = distill(recipe_from(values, folder), folder / name)
    return found


@pytest.mark.slow
def test_spans_of_the_teacher_help_beyond_the_text_alone(tmp_path: Path) -> None:
    almanac_tokenizer(tmp_path / "own")
    write_permission(tmp_path / "permission.json", TEACHER)
    teacher = {"teacher": TEACHER, "permission": "permission.json"}
    method = {"kind": "logits", "alignment": "span-kl", "alpha": 0.5}
    taught = run(tmp_path, "taught", method, **teacher)
    alone = run(tmp_path, "alone", {"kind": "baseline"})
    ends = [found["results"]["holdout"]["end"] for found in (taught, alone)]
    # After so few steps the text alone has not taught it yet; how seeds differ in the end:
    # reports/benchmarks/distillation.md.
    assert ends[0]["loss"] < ends[1]["loss"] - 0.1
    assert ends[0]["teacher_bits_per_byte"] < ends[0]["bits_per_byte"]
