"""A small plan on the shipped tiny models, for the tests of every folder."""

import json
from pathlib import Path
from typing import Any

from auditor.judge.findings import RULES


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
