"""A small world for the tests: a random byte-level teacher, its permission, recipes, a text."""

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auditor.canon import file_digest
from auditor.distill.permission import template
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.recipe_student import Init
from auditor.distill.rows import ListedRows, Row, Rows, scanned
from auditor.distill.sequences import Sequences, sequences
from auditor.distill.student import random_module
from auditor.models.byte_tokenizer import byte_tokenizer

WORDS = "the cat sat on a mat while rain fell over old stone walls near green hills".split()


def text_documents(count: int, seed: int) -> list[str]:
    """Documents of 2 to 13 words, drawn with replacement: lengths differ on purpose."""
    rng = np.random.RandomState(seed)
    return [" ".join(rng.choice(WORDS, rng.randint(2, 14))) + "." for _ in range(count)]


def make_teacher(folder: Path, *, layers: int = 3) -> Path:
    """Save a random 3-layer llama of 24 channels; weights large enough to have opinions."""
    import torch

    torch.manual_seed(11)
    tokenizer = byte_tokenizer()
    init = Init(
        architecture="llama", hidden=24, layers=layers, heads=2, ffn=48, max_length=64, tie=True
    )
    module = random_module(init, tokenizer)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 2:
                parameter.mul_(15.0)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_permission(path: Path, spec: str, **changes: Any) -> Path:
    """Write a permission that permits, changed as told."""
    content = template(spec)
    content["licence"].update(id="CC0-1.0", text_sha256=hashlib.sha256(b"CC0").hexdigest())
    content["clauses"][0]["quote"] = "You can copy, modify, distribute and perform the work."
    content.update(approver="the owner", verdict="permit")
    content.update(changes)
    path.write_text(json.dumps(content))
    return path


def write_text(folder: Path, *, count: int = 60, seed: int = 1) -> Path:
    path = folder / "text.jsonl"
    rows = [json.dumps({"text": text}) for text in text_documents(count, seed)]
    path.write_text("\n".join(rows) + "\n")
    return path


def logits_recipe(folder: Path, teacher: Path, **changes: Any) -> dict[str, Any]:
    """Values of a logits recipe whose files are in `folder`; `changes` replace whole sections."""
    write_text(folder)
    write_permission(folder / "permission.json", f"local:{teacher}")
    values: dict[str, Any] = {
        "teacher": f"local:{teacher}",
        "student": {"shrink": {"layers": 2}},
        "data": {"text": "text.jsonl", "max_length": 32, "holdout": 0.1, "holdout_tokens": 256},
        "method": {"kind": "logits"},
        "train": {"steps": 8, "batch_tokens": 128, "lr": 0.003, "save_every": 3},
        "permission": "permission.json",
    }
    values.update(changes)
    return values


def logits_run(folder: Path, teacher: Path, **changes: Any) -> Recipe:
    return recipe_from(logits_recipe(folder, teacher, **changes), folder)


def changed(values: dict[str, Any], section: str, **keys: Any) -> dict[str, Any]:
    """Return a copy of recipe values with keys of one section replaced."""
    result = copy.deepcopy(values)
    result[section].update(keys)
    return result


def random_sequences(lengths: list[int], *, vocabulary: int = 259, seed: int = 5) -> Sequences:
    """Sequences of the given numbers of inputs, all tokens but the first being targets."""
    rng = np.random.RandomState(seed)
    return sequences((rng.randint(0, vocabulary, n + 1), 1, False) for n in lengths)


def weights_digest_of(run: Path) -> str:
    return file_digest(run / "student" / "model.safetensors")


def sequence_values(
    folder: Path, teacher: Path, *, prompts: int = 6, student: Any = None, **sampling: Any
) -> dict[str, Any]:
    """Values of a sequence recipe: a few prompts, short answers."""
    rows = [json.dumps({"prompt": f"What is the {n}th wall?"}) for n in range(prompts)]
    (folder / "prompts.jsonl").write_text("\n".join(rows) + "\n")
    write_permission(folder / "permission.json", f"local:{teacher}")
    init = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "max_length": 64}
    return {
        "teacher": f"local:{teacher}",
        "student": student or {"init": init},
        "data": {
            "prompts": "prompts.jsonl",
            "max_length": 64,
            "holdout": 0.2,
            "sampling": {"max_new_tokens": 8, "seed": 3, **sampling},
        },
        "method": {"kind": "sequence"},
        "train": {"steps": 3, "batch_tokens": 256, "lr": 0.01},
        "permission": "permission.json",
    }


def listed_rows(values: Sequence[Any], digest_of: Callable[[Any], str]) -> Rows[Any]:
    """Rows that are in memory, without flags."""
    return scanned([ListedRows("a list", [Row(value=value) for value in values])], digest_of)


def served_values(
    folder: Path, spec: str, *, prompts: int = 5, cache: Any = None, **sampling: Any
) -> dict[str, Any]:
    """Values of a recipe whose teacher is behind a server; with `cache` of its log-probabilities.

    The student has the tokenizer of the tiny teacher that ships.
    """
    values = sequence_values(folder, Path("unused"), prompts=prompts, **sampling)
    write_permission(folder / "permission.json", spec)
    values["student"]["init"]["tokenizer"] = "tiny:teacher"
    values["teacher"] = spec
    if cache is not None:
        values["method"] = {"kind": "logits", "cache": {"scheme": "topk", **cache}}
    return values
