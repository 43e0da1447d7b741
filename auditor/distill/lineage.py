"""lineage.json: what a run did, as digests and numbers that anybody can check later."""

import dataclasses
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from auditor.canon import directory_digests
from auditor.distill.batches import BatchPlan
from auditor.distill.fidelity import gap_closed
from auditor.distill.launch import shards_student
from auditor.distill.metrics import MetricsLog
from auditor.distill.ranks import rank_count, rank_device
from auditor.distill.recipe import Recipe
from auditor.distill.recipe_method import Method
from auditor.distill.subjects import Subjects
from auditor.types import ModelRef

SCHEMA = "auditor/lineage/1"
_PACKAGES = (
    "auditor",
    "torch",
    "transformers",
    "sentence-transformers",
    "accelerate",
    "tokenizers",
    "numpy",
)


def reference_json(ref: ModelRef | None) -> dict[str, Any] | None:
    """Return the fields of a reference as JSON values, the access level by name."""
    if ref is None:
        return None
    return {**dataclasses.asdict(ref), "access": ref.access.name}


def dose(plan: BatchPlan, method: Method, tokens: int, taught: int | None = None) -> dict[str, Any]:
    """Return how much of the gradient came from the teacher.

    ``gradient_tokens``: targets over all steps, repeats counted. ``teacher_tokens``: of those,
    the ones the teacher wrote (method sequence) or gave its distribution for (logits, on-policy).
    ``share``: their weight in the loss, 1 - alpha each for logits. `tokens` is what metrics.jsonl
    counted: answers of the student are not in the plan. What method hidden takes from inner states
    is not counted in tokens. `taught`: where the teacher has other tokens, the targets that it gave
    something for.
    """
    if taught is not None:
        share = (1.0 - method.alpha) * taught / tokens
        return {"gradient_tokens": tokens, "teacher_tokens": taught, "share": share}
    if method.kind in ("logits", "on-policy"):
        return {"gradient_tokens": tokens, "teacher_tokens": tokens, "share": 1.0 - method.alpha}
    total = int(plan.step_targets.sum())
    written = 0 if method.kind == "baseline" else int(plan.step_generated.sum())
    return {"gradient_tokens": total, "teacher_tokens": written, "share": written / total}


def results(metrics: MetricsLog) -> dict[str, Any]:
    """Return start, end and what they amount to; ``holdout`` is null where nothing was held out."""
    evaluations = metrics.holdout()
    losses = [row for row in metrics.rows() if "loss" in row]
    first, last = losses[0], losses[-1]
    found: dict[str, Any] = {
        "steps": last["step"],
        "loss": {"start": first["loss"], "end": last["loss"]},
        "holdout": None,
    }
    if evaluations:
        start, end = evaluations[0][1], evaluations[-1][1]
        found["holdout"] = {"start": start, "end": end, **_compared(start, end)}
    return found


def _compared(start: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    if end["teacher_loss"] is None:
        return {"kl_ratio": None, "gap_closed_from_start": None}
    known = start["kl"] and end["kl"] is not None
    return {
        "kl_ratio": end["kl"] / start["kl"] if known else None,
        # From the untrained student, not from a student trained without the teacher.
        "gap_closed_from_start": gap_closed(start["loss"], end["loss"], end["teacher_loss"]),
    }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out of a run."""

    student: ModelRef
    layer_map: tuple[int, ...] | None
    dose: dict[str, Any]
    data: dict[str, Any]
    results: dict[str, Any]
    files: dict[str, str]
    environment: dict[str, Any]
    ledger: dict[str, Any]
    """Its head, number of records and Merkle roots."""


def lineage(recipe: Recipe, subjects: Subjects, outcome: Outcome) -> dict[str, Any]:
    """Return the content of lineage.json. No times and no names of machines: a repeat is equal."""
    origin = next(name for name in ("init", "from_", "shrink") if getattr(recipe.student, name))
    layers = outcome.layer_map
    return {
        "schema": SCHEMA,
        "teacher": reference_json(subjects.teacher),
        "student": {
            **(reference_json(outcome.student) or {}),
            "origin": origin.rstrip("_"),
            "started_from": reference_json(subjects.origin),
            "layer_map": None if layers is None else list(layers),
        },
        "vocabulary": subjects.vocabulary_json(),
        "method": recipe.method.model_dump(mode="json"),
        "dose": outcome.dose,
        "data": outcome.data,
        "recipe": {"digest": recipe.digest, "content": recipe.as_json()},
        "permission": None if subjects.permission is None else subjects.permission.as_json(),
        "environment": outcome.environment,
        "seed": recipe.train.seed,
        "results": outcome.results,
        "ledger": outcome.ledger,
        "files": outcome.files,
    }


def strategy() -> str:
    """Return how the ranks shared the student.

    ``single``: one process. ``ddp``: each kept it whole (DistributedDataParallel). ``fsdp2``: each
    kept a part (torch's fully_shard).
    """
    if rank_count() == 1:
        return "single"
    return "fsdp2" if shards_student() else "ddp"


SECRETS = ("marks.key", "marks-reveal.json")
"""Files of a run folder that are for its owner alone until an audit."""


def file_digests(root: Path) -> dict[str, str]:
    """Return the digests of what a finished run holds, but lineage.json, scratch and secrets."""
    found = directory_digests(root)
    scratch = ("checkpoints/", "work/")
    return {
        name: value
        for name, value in found.items()
        if not name.startswith(scratch) and name not in ("lineage.json", *SECRETS)
    }


def run_environment() -> dict[str, Any]:
    """Return what the run was made with: this process and the ranks beside it."""
    import torch

    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in _PACKAGES},
        "device": rank_device().partition(":")[0],
        "ranks": rank_count(),
        "strategy": strategy(),
        "torch_threads": torch.get_num_threads(),
    }
