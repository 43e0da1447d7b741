"""The files of a finished distillation run, written by hand in the formats of the trainer."""

import json
from pathlib import Path
from typing import Any

from auditor.canon import canonical_json, digest, file_digest, pretty_json

STEPS = 500


def write_run(root: Path, *, teacher: bool = True, spec: str = "tiny:teacher") -> Path:
    """Write a run with or without a teacher and return its folder."""
    root.mkdir(parents=True)
    rows = _rows(teacher)
    (root / "metrics.jsonl").write_bytes(b"".join(canonical_json(row) + b"\n" for row in rows))
    (root / "recipe.yaml").write_text("teacher: tiny:teacher\n")
    lineage = _lineage(rows, spec if teacher else None)
    lineage["files"] = {name: file_digest(root / name) for name in ("metrics.jsonl", "recipe.yaml")}
    (root / "lineage.json").write_bytes(pretty_json(lineage))
    return root


def _rows(teacher: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(STEPS + 1):
        loss = 2.0 + 3.0 * 0.99**step
        if step:
            rows.append({"step": step, "loss": loss, "lr": 0.001, "tokens": 2048 * step})
        if step % 100 == 0:
            holdout = {
                "loss": loss + 0.1,
                "kl": 1.5 * 0.995**step if teacher else None,
                "top1": 0.8 - 0.5 * 0.99**step if teacher else None,
                "teacher_loss": 1.9 if teacher else None,
            }
            rows.append({"step": step, "holdout": holdout})
    return rows


def _model(spec: str) -> dict[str, Any]:
    return {
        "spec": spec,
        "access": "WEIGHTS",
        "digest": digest(spec.encode()),
        "tokenizer_digest": digest(b"tokenizer"),
        "template_digest": None,
        "parameters": 468_096,
        "architecture": "LlamaForCausalLM",
        "vocabulary": 259,
        "dtype": None,
    }


def _lineage(rows: list[dict[str, Any]], teacher: str | None) -> dict[str, Any]:
    evaluations = [row["holdout"] for row in rows if "holdout" in row]
    losses = [row["loss"] for row in rows if "loss" in row]
    start, end = evaluations[0], evaluations[-1]
    method = {"kind": "logits" if teacher else "baseline", "divergence": "forward-kl", "alpha": 0.1}
    content = {"teacher": teacher, "method": method, "train": {"steps": STEPS}}
    permission = {
        "digest": digest(b"permission"),
        "verdict": "permit-with-duties",
        "reason": "as declared",
        "licence": "Apache-2.0",
        "scope": "research",
        "duties": ["name the teacher", "keep the licence"],
        "expires": None,
    }
    return {
        "schema": "auditor/lineage/1",
        "teacher": None if teacher is None else _model(teacher),
        "student": {
            **_model("local:student"),
            "origin": "shrink" if teacher else "init",
            "started_from": None,
            "layer_map": [0, 2, 5] if teacher else None,
        },
        "vocabulary": {"relation": "identical" if teacher else None, "ids": 259},
        "method": method,
        "dose": {
            "gradient_tokens": 1_024_000,
            "teacher_tokens": 1_024_000 if teacher else 0,
            "share": 0.9 if teacher else 0.0,
        },
        "data": {"sources": {"corpus:stories": digest(b"stories")}, "train_targets": 536_540},
        "recipe": {"digest": digest(json.dumps(content).encode()), "content": content},
        "permission": permission if teacher else None,
        "environment": {
            "python": "3.11.7",
            "machine": "x86_64",
            "packages": {"torch": "2.13.0+cpu"},
            "device": "cpu",
            "ranks": 1,
            "torch_threads": 1,
        },
        "seed": 0,
        "results": {
            "steps": STEPS,
            "loss": {"start": losses[0], "end": losses[-1]},
            "holdout": {
                "start": start,
                "end": end,
                "kl_ratio": end["kl"] / start["kl"] if teacher else None,
                "gap_closed_from_start": 0.94 if teacher else None,
            },
        },
    }
