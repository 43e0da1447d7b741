"""A small plan on the shipped tiny models, and a run whose student carries a canary."""

import json
from pathlib import Path
from typing import Any

from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.judge.findings import RULES

SIBLINGS = 99


def plan_values(**changes: Any) -> dict[str, Any]:
    """A complete plan that runs in seconds, changed at the given keys; None removes one."""
    values = {
        "schema": "auditor/audit-plan/1",
        "title": "A small case",
        "question": "Does the suspect derive from the teacher?",
        "hypotheses": [
            {"name": "independent", "statement": "It was trained on public text."},
            {"name": "imitation", "statement": "It was trained on the teacher's answers."},
        ],
        "reference": "tiny:teacher",
        "suspects": [{"spec": "tiny:independent"}],
        "controls": [{"spec": "tiny:sibling", "role": "sibling"}],
        "population": {"description": "Tiny models of stories.", "families": {"sibling": 1}},
        "suites": ["instructions", "ood"],
        "probes": 6,
        "measures": ["logit-js", "text-chrf"],
        "sampling": {"max_new_tokens": 6},
        "decision": RULES,
        "encoder": None,
    }
    values.update(changes)
    return {key: value for key, value in values.items() if value is not None}


def write_plan(folder: Path, **changes: Any) -> Path:
    """Write plan.yaml; JSON is YAML."""
    path = folder / "plan.yaml"
    path.write_text(json.dumps(plan_values(**changes)))
    return path


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
