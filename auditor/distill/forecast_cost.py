"""What a run would cost: memory, bytes of the cache, time. Estimates; the parameters are exact."""

import time
from dataclasses import dataclass
from typing import Any

from auditor.distill.recipe import Recipe
from auditor.distill.subjects import Subjects, step_parts

_ADAM_BYTES = 16
"""Of one trained parameter: weight, gradient and two moments in fp32."""
_CHUNK = 256
"""Positions whose logits the loss holds at once."""
_PROBE = 512
"""Rows and columns of the matrix product that measures this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Size of a model."""

    parameters: int
    layers: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many tokens go through which model."""

    trained: int
    """Inputs of the student over all steps."""
    captured: int
    """Inputs that the teacher reads once for the cache; 0 without one."""
    scored: int
    """Inputs that the teacher reads while the student trains; 0 with a cache."""


def memory(recipe: Recipe, subjects: Subjects, shape: Shape) -> dict[str, int]:
    """Return peak bytes while training, by what holds them."""
    part = recipe.train.batch_tokens // step_parts(recipe)
    sizes = {
        "student_and_optimizer": shape.parameters * _ADAM_BYTES,
        "teacher": _teacher_bytes(recipe, subjects),
        # About 20 saved tables of the model's width in each layer, in fp32.
        "activations": part * shape.width * shape.layers * 20 * 4,
        "logits": _logit_bytes(subjects),
    }
    return {**sizes, "total": sum(sizes.values())}


def evaluation_memory(recipe: Recipe, subjects: Subjects, shape: Shape) -> dict[str, int]:
    """Return peak bytes while measuring the held-out part between two steps."""
    batch = min(recipe.data.holdout_tokens, recipe.train.batch_tokens)
    sizes = {
        # The gradients of the step before are freed, the optimizer's moments stay.
        "student_and_optimizer": shape.parameters * (_ADAM_BYTES - 4),
        "teacher": _teacher_bytes(recipe, subjects),
        # Without gradients a few tables of one layer at a time.
        "activations": batch * shape.width * 8 * 4,
        "logits": _logit_bytes(subjects),
    }
    return {**sizes, "total": sum(sizes.values())}


def _logit_bytes(subjects: Subjects) -> int:
    own = subjects.vocabulary
    other = own if subjects.reader is None else subjects.reader.teacher_vocabulary.size
    return _CHUNK * (own + other) * 4


def _teacher_bytes(recipe: Recipe, subjects: Subjects) -> int:
    """Return the size of a teacher that is in memory beside the student."""
    import torch

    if subjects.teacher is None or not recipe.method.reads_teacher or recipe.method.cache:
        return 0
    return (subjects.teacher.parameters or 0) * (2 if torch.cuda.is_available() else 4)


def cache_bytes(
    recipe: Recipe, subjects: Subjects, width: int, data: dict[str, Any]
) -> dict[str, Any] | None:
    """Return what the recipe's cache would take at most; None without one.

    `width` is D of the teacher, `data` the forecast's part about data.
    """
    from auditor.distill.cache_rows import most_bytes

    cache = recipe.method.cache
    if cache is None:
        return None
    position = most_bytes(cache.scheme, cache.k, subjects.vocabulary, width, cache.dtype)
    positions = min(
        data["text_tokens"] + data["answer_tokens_at_most"],
        recipe.train.steps * recipe.train.batch_tokens,
    )
    return {
        "scheme": cache.scheme,
        "positions_at_most": positions,
        "bytes_per_position_at_most": position,
        "bytes_at_most": positions * position,
        "holdout_bytes_at_most": recipe.data.holdout_tokens * width * 4,
        "head_bytes": subjects.vocabulary * width * 4,
        "max_bytes": int(cache.max_bytes),
    }


def load(recipe: Recipe, cache: dict[str, Any] | None) -> Load:
    """Return how many tokens each model reads."""
    trained = recipe.train.steps * recipe.train.batch_tokens
    online = recipe.method.reads_teacher and cache is None
    return Load(
        trained=trained,
        captured=0 if cache is None else cache["positions_at_most"],
        scored=trained if online else 0,
    )


def seconds(shape: Shape, teacher_parameters: int, tokens: Load) -> dict[str, float]:
    """Return rough times: 2 operations a parameter and token forward, 4 more backward.

    At the speed of a matrix product that is timed here. Generation of answers is not in it.
    """
    speed = _operations_per_second()
    return {
        "capture": 2.0 * teacher_parameters * tokens.captured / speed,
        "training": (
            6.0 * shape.parameters * tokens.trained + 2.0 * teacher_parameters * tokens.scored
        )
        / speed,
    }


def _operations_per_second() -> float:
    import torch

    table = torch.ones(_PROBE, _PROBE, device="cuda" if torch.cuda.is_available() else "cpu")
    (table @ table).sum().item()
    start = time.perf_counter()
    for _ in range(8):
        (table @ table).sum().item()
    return float(8 * 2 * _PROBE**3 / (time.perf_counter() - start))
