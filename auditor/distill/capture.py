"""Fills a logit cache: the teacher reads every sequence once, in groups that are kept whole.

Groups have fixed members, because rounding depends on what shares a batch: after a kill the
unfinished group is captured again and the shards end up the same byte for byte.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from auditor.distill.batches import padded_batch
from auditor.distill.cache import Identity, LogitCache, key_of
from auditor.distill.cache_rows import Arrays, dense_rows, encode, most_bytes
from auditor.distill.objective import Teacher, teacher_states
from auditor.distill.sequences import Sequences
from auditor.errors import RecipeError, StorageError
from auditor.kernels.sparse import SparseTargets, pps_targets, topk_targets
from auditor.models.batching import plan_batches
from auditor.models.unembedding import logits_of
from auditor.progress import Task

GROUP_TOKENS = 16384
"""Inputs of the sequences that make up a shard, about."""
BATCH_TOKENS = 4096
"""Inputs of a forward pass."""
_CHUNK = 256
"""Positions whose logits exist at once."""


Reader = Callable[[Identity, Sequences, list[int]], Arrays]
"""Gives the arrays of all positions of some sequences, one sequence after another."""


def capture(
    cache: LogitCache,
    read: Reader,
    store: Sequences,
    rows: Sequence[int],
    *,
    max_bytes: int,
    task: Task,
) -> None:
    """Add to `cache` what it lacks of `rows`, as `read` gives it; `task` advances by positions.

    Raises:
        RecipeError: a hidden state does not fit the cache's type.
        StorageError: the cache would grow beyond `max_bytes`, or the disk refused it; whole shards
            are kept.
    """
    for group in _groups(store, rows):
        lacking = cache.missing(store, group)
        positions = int(store.targets[lacking].sum()) if lacking else 0
        if lacking:
            arrays = read(cache.identity, store, lacking)
            size = sum(array.nbytes for array in arrays.values())
            if cache.size + size > max_bytes:
                raise StorageError(
                    f"{cache.root} holds {cache.size:,} bytes, and the next shard would go beyond "
                    f"method.cache.max_bytes ({max_bytes:,})",
                    hint="raise max_bytes, lower k, or train on less data",
                )
            cache.append(store, lacking, arrays)
        task.advance(positions)


def fewest_bytes(identity: Identity, positions: int, width: int) -> int:
    """Return what `positions` take at least, in bytes."""
    most = most_bytes(identity.scheme, identity.k, identity.vocabulary, width, dtype=identity.dtype)
    ragged = 2 * min(identity.k, identity.vocabulary) if identity.scheme == "pps" else 0
    return positions * (most - ragged)


def _groups(store: Sequences, rows: Sequence[int]) -> Iterator[list[int]]:
    group: list[int] = []
    room = GROUP_TOKENS
    for row in rows:
        length = int(store.lengths[row])
        if group and length > room:
            yield group
            group, room = [], GROUP_TOKENS
        group.append(row)
        room -= length
    if group:
        yield group


def captured_tokens(
    teacher: Teacher, identity: Identity, store: Sequences, rows: Sequence[int]
) -> Arrays:
    """Return the arrays of a teacher that reads the same token ids as the student.

    Raises:
        RecipeError: a hidden state does not fit the cache's type.
    """
    parts: dict[int, list[Arrays]] = {}
    for members in plan_batches([int(store.lengths[row]) for row in rows], BATCH_TOKENS):
        picked = [rows[member] for member in members]
        states = teacher_states(teacher, padded_batch(store, picked))  # (N, D)
        counts = [int(store.targets[row]) for row in picked]
        for row, of_sequence in zip(picked, torch.split(states, counts), strict=True):
            parts[row] = list(_encoded(identity, teacher, key_of(store, row), of_sequence))
    ordered = [part for row in rows for part in parts[row]]
    return {name: np.concatenate([part[name] for part in ordered]) for name in ordered[0]}


def _encoded(identity: Identity, teacher: Teacher, key: bytes, states: Tensor) -> Iterator[Arrays]:
    if identity.scheme == "dense":
        try:
            yield dense_rows(states, identity.dtype)
        except OverflowError as error:
            raise RecipeError(
                f"method.cache.dtype {identity.dtype} does not hold this teacher: {error}",
                hint="set method.cache.dtype: float32",
            ) from error
        return
    generator = stream_of(identity, key)
    for part in torch.split(states, _CHUNK):
        logits = logits_of(teacher.head, part.to(teacher.head.weight.dtype)).float().cpu()
        targets = sparse_targets(identity, logits / identity.temperature, generator)
        yield encode(targets, identity.vocabulary)


def sparse_targets(identity: Identity, logits: Tensor, generator: torch.Generator) -> SparseTargets:
    """Return what a cache keeps of (T, V) logits that are tempered already."""
    if identity.scheme == "topk":
        return topk_targets(logits, identity.k)
    return pps_targets(logits, identity.k, generator=generator)


def stream_of(identity: Identity, key: bytes) -> torch.Generator:
    """Return the numbers that the draws of a sequence take.

    They follow from the sequence and the seed alone: not from batches, shards or kills.
    """
    mixed = hashlib.sha256(identity.seed.to_bytes(8, "little") + key).digest()
    return torch.Generator().manual_seed(int.from_bytes(mixed[:8], "little") >> 1)
