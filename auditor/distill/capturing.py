"""From a recipe to a captured teacher: which caches, what they lack, what they lose."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import pretty_json
from auditor.case import atomic_write
from auditor.distill.batches import training_order
from auditor.distill.byte_capture import byte_teacher, captured_bytes
from auditor.distill.cache import Identity, LogitCache, sequences_digest
from auditor.distill.cache_fidelity import cache_fidelity
from auditor.distill.capture import Reader, capture, captured_tokens, fewest_bytes
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
from auditor.models.vocabulary import vocabulary_of
from auditor.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from auditor.distill.student import Student


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Captured:
    """A teacher whose distributions are on disk."""

    train: CapturedTeacher
    holdout: CapturedTeacher | None
    teacher: Teacher | None
    """Its head alone; None for a student of other tokens."""
    record: dict[str, Any]
    """What a lineage says about the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Models:
    """Who is taught by whom."""

    student: "Student"
    """Untrained: what a cache loses is measured at it."""
    load: "Callable[[], tuple[Teacher, PreTrainedTokenizerFast]]"
    read: Reader | None = None
    """Gives what is missing where no weights are to load: a server's log-probabilities."""


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
    models: Models,
    progress: Progress,
) -> Captured:
    """Return the captured teacher of a recipe with ``method.cache``; capture what is missing.

    The teacher is loaded where something is missing, and not otherwise.

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
        teacher=_head_of(train.cache),
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
    shared = subjects.shares_tokens
    exact = Identity(
        # A server shows no weights: name and address stand for them.
        teacher="" if teacher is None else teacher.digest or teacher.spec,
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
        unit="token" if shared or subjects.served_logits else "byte",
    )
    parts = [_Part(cache=LogitCache(root, identity), store=data.train, rows=rows)]
    if data.holdout is not None and shared:
        parts.append(
            _Part(
                cache=LogitCache(root / "holdout", exact),
                store=data.holdout,
                rows=list(range(len(data.holdout))),
            )
        )
    return parts


def _head_of(cache: LogitCache) -> Teacher | None:
    return (
        None if cache.head_digest is None else Teacher(module=None, head=load_head(cache.head_path))
    )


def _fill(parts: list[_Part], models: Models, choice: CacheChoice, progress: Progress) -> None:
    lacking = sum(int(part.store.targets[part.lacking].sum()) for part in parts if part.lacking)
    train = parts[0]
    shared = train.cache.identity.unit == "token"
    report = train.cache.root / "fidelity.json"
    if not lacking and (not shared or report.is_file() or models.read is not None):
        return
    if models.read is not None:
        _check_room(train, choice, 0)
        _capture(parts, models.read, choice, lacking, progress)
        return
    teacher, tokenizer = models.load()
    width = int(teacher.head.weight.shape[1])
    for part in parts:
        _check_room(part, choice, width)
    read: Reader = partial(captured_tokens, teacher)
    if not shared:
        student = vocabulary_of(models.student.tokenizer)
        read = partial(captured_bytes, byte_teacher(teacher, tokenizer, student))
    elif train.cache.head_digest is None:
        save_head(train.cache.head_path, teacher.head)
        train.cache.commit_head()
    _capture(parts, read, choice, lacking, progress)
    if shared:
        found = cache_fidelity(train.cache, teacher, models.student, train.store, train.rows)
        atomic_write(report, pretty_json(found))


def _capture(
    parts: list[_Part], read: Reader, choice: CacheChoice, lacking: int, progress: Progress
) -> None:
    with progress.task("capture teacher", lacking) as task:
        for part in parts:
            limit = int(choice.max_bytes)
            capture(part.cache, read, part.store, part.rows, max_bytes=limit, task=task)


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
        "fidelity": _fidelity(train.cache),
        "read": sequences_digest(train.store, train.rows),
    }


def _fidelity(cache: LogitCache) -> dict[str, Any] | None:
    """Return the report; None for next bytes and servers: there is no distribution to compare."""
    path = cache.root / "fidelity.json"
    if not path.is_file():
        return None
    report: dict[str, Any] = json.loads(path.read_bytes())
    return report
