"""From a recipe to a captured teacher: which caches, what they lack, what they lose."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import pretty_json
from auditor.case import atomic_write
from auditor.distill.batches import training_order
from auditor.distill.cache import Identity, LogitCache, sequences_digest
from auditor.distill.cache_fidelity import cache_fidelity
from auditor.distill.capture import capture, fewest_bytes
from auditor.distill.captured import CapturedTeacher, load_head, save_head
from auditor.distill.data import TrainingData
from auditor.distill.objective import Teacher
from auditor.distill.ranks import is_first_rank, wait_for_ranks
from auditor.distill.recipe import Recipe
from auditor.distill.recipe_method import CacheChoice
from auditor.distill.run_folder import RunFolder
from auditor.distill.sequences import Sequences
from auditor.distill.subjects import Subjects
from auditor.errors import RecipeError
from auditor.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.distill.student import Student


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Captured:
    """A teacher whose distributions are on disk."""

    train: CapturedTeacher
    holdout: CapturedTeacher | None
    teacher: Teacher
    """Its head alone."""
    record: dict[str, Any]
    """What a lineage says about the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Sequences and the cache that holds or will hold them."""

    cache: LogitCache
    store: Sequences
    rows: list[int]

    @property
    def lacking(self) -> list[int]:
        return self.cache.missing(self.store, self.rows)


def captured_teacher(
    recipe: Recipe,
    subjects: Subjects,
    folder: RunFolder,
    data: TrainingData,
    models: "tuple[Student, Callable[[], Teacher]]",
    progress: Progress,
) -> Captured:
    """Return the captured teacher of a recipe with ``method.cache``; capture what is missing.

    `models` are the untrained student, at which the cache's loss is measured, and what loads the
    teacher; it is called where something is missing, and not otherwise.

    Raises:
        CaseError: the cache's folder holds a cache of something else, or was changed.
        RecipeError: the cache cannot fit ``max_bytes``.
        StorageError: it grew beyond ``max_bytes``, or the disk is full; whole shards are kept.
    """
    choice = recipe.method.cache
    if choice is None:
        raise RuntimeError("the recipe has no method.cache")
    root = folder.root / "cache" if choice.path is None else recipe.path(choice.path)
    if is_first_rank():
        _fill(_parts(recipe, choice, subjects, data, root), models, choice, progress)
    wait_for_ranks()
    parts = _parts(recipe, choice, subjects, data, root)
    train, *held = parts
    return Captured(
        train=CapturedTeacher(train.cache, train.store),
        holdout=CapturedTeacher(held[0].cache, held[0].store) if held else None,
        teacher=Teacher(module=None, head=load_head(train.cache.head_path)),
        record=_record(parts, outside=choice.path is not None),
    )


def _parts(
    recipe: Recipe, choice: CacheChoice, subjects: Subjects, data: TrainingData, root: "Path"
) -> list[_Part]:
    """Return the training part and, where something is held out, its part, which is dense."""
    train, teacher = recipe.train, subjects.teacher
    used = training_order(
        data.train.lengths, steps=train.steps, batch_tokens=train.batch_tokens, seed=train.seed
    )
    rows = np.unique(np.concatenate(used)).tolist()
    dense = choice.scheme == "dense"
    exact = Identity(
        teacher=(teacher and teacher.digest) or "",
        tokenizer=(teacher and teacher.tokenizer_digest) or "",
        vocabulary=subjects.vocabulary,
        scheme="dense",
        k=0,
        temperature=1.0,
        dtype="float32",
        seed=0,
    )
    identity = replace(
        exact,
        scheme=choice.scheme,
        k=0 if dense else choice.k,
        temperature=1.0 if dense else recipe.method.temperature,
        dtype=choice.dtype if dense else "packed",
        seed=train.seed if choice.scheme == "pps" else 0,
    )
    parts = [_Part(cache=LogitCache(root, identity), store=data.train, rows=rows)]
    if data.holdout is not None:
        parts.append(
            _Part(
                cache=LogitCache(root / "holdout", exact),
                store=data.holdout,
                rows=list(range(len(data.holdout))),
            )
        )
    return parts


def _fill(
    parts: list[_Part],
    models: "tuple[Student, Callable[[], Teacher]]",
    choice: CacheChoice,
    progress: Progress,
) -> None:
    lacking = sum(int(part.store.targets[part.lacking].sum()) for part in parts if part.lacking)
    cache, report = parts[0].cache, parts[0].cache.root / "fidelity.json"
    if not lacking and cache.head_digest is not None and report.is_file():
        return
    student, load = models
    teacher = load()
    for part in parts:
        _check_room(part, choice, int(teacher.head.weight.shape[1]))
    if cache.head_digest is None:
        save_head(cache.head_path, teacher.head)
        cache.commit_head()
    with progress.task("capture teacher", lacking) as task:
        for part in parts:
            capture(
                part.cache,
                teacher,
                part.store,
                part.rows,
                max_bytes=int(choice.max_bytes),
                task=task,
            )
    found = cache_fidelity(cache, teacher, student, parts[0].store, parts[0].rows)
    atomic_write(report, pretty_json(found))


def _check_room(part: _Part, choice: CacheChoice, width: int) -> None:
    positions = int(part.store.targets[part.lacking].sum()) if part.lacking else 0
    needed = part.cache.size + fewest_bytes(part.cache.identity, positions, width)
    if needed > choice.max_bytes:
        raise RecipeError(
            f"the cache needs at least {needed:,} bytes, and method.cache.max_bytes is "
            f"{int(choice.max_bytes):,}",
            hint="raise max_bytes, lower k, or train on less data",
        )


def _record(parts: list[_Part], *, outside: bool) -> dict[str, Any]:
    """Return what a lineage keeps of the caches: enough to find and to check them."""
    train = parts[0]
    manifest = train.cache.manifest()
    positions = max(1, manifest["positions"])
    return {
        "place": "outside the run" if outside else "cache",
        "identity": manifest["identity"],
        "merkle_root": manifest["merkle_root"],
        "shards": len(manifest["shards"]),
        "positions": manifest["positions"],
        "bytes_per_position": manifest["bytes"] / positions,
        "fidelity": json.loads((train.cache.root / "fidelity.json").read_bytes()),
        "read": sequences_digest(train.store, train.rows),
    }
