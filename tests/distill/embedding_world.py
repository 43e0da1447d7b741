"""A small encoder as teacher, and recipes of method embedding."""

import json
from pathlib import Path
from typing import Any

from distill_world import write_permission, write_text

from auditor.distill.embedding_student import bert_config, encoder_from
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.recipe_student import Init
from auditor.models.byte_tokenizer import byte_tokenizer

WIDTH = 24


def make_encoder(
    folder: Path, *, normalise: bool = True, hidden: int = WIDTH, seed: int = 4
) -> Path:
    """Save a random byte-level encoder of 4 layers; weights large enough to tell texts apart."""
    import torch

    torch.manual_seed(seed)
    tokenizer = byte_tokenizer()
    init = Init(architecture="bert", hidden=hidden, layers=4, heads=2, ffn=48, max_length=96)
    module = encoder_from(bert_config(init, tokenizer))
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8.0)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    parts = [
        {"idx": n, "name": str(n), "path": f"{n}_{kind}" if n else "", "type": _type(kind)}
        for n, kind in enumerate(kinds)
    ]
    for part in parts:
        (folder / part["path"]).mkdir(exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(parts))
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def _type(kind: str) -> str:
    return f"sentence_transformers.models.{kind}"


def embedding_values(folder: Path, teacher: Path, /, **changes: Any) -> dict[str, Any]:
    """Values of an embedding recipe whose files are in `folder`; `changes` replace sections."""
    write_text(folder)
    write_permission(folder / "permission.json", f"local:{teacher}")
    values: dict[str, Any] = {
        "teacher": f"local:{teacher}",
        "student": {"shrink": {"layers": 2}},
        "data": {"text": "text.jsonl", "max_length": 96, "holdout": 0.3},
        "method": {"kind": "embedding"},
        "train": {"steps": 8, "batch_tokens": 400, "lr": 0.003, "save_every": 3},
        "permission": "permission.json",
    }
    values.update(changes)
    return values


def embedding_recipe(folder: Path, teacher: Path, /, **changes: Any) -> Recipe:
    return recipe_from(embedding_values(folder, teacher, **changes), folder)


def method(**choice: Any) -> dict[str, Any]:
    return {"kind": "embedding", "embedding": choice}


def init(**changes: Any) -> dict[str, Any]:
    """A student of another width than the teacher's."""
    shape = {"architecture": "bert", "hidden": 16, "layers": 1, "heads": 2, "max_length": 96}
    return {"init": {**shape, **changes}}
