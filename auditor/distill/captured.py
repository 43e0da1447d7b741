"""A teacher that was captured: its distributions as parts of training batches."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auditor.canon import canonical_json
from auditor.case import atomic_write
from auditor.distill.cache import LogitCache
from auditor.distill.cache_rows import decode
from auditor.distill.sequences import Sequences
from auditor.errors import CaseError
from auditor.kernels.sparse import PpsTargets, SparseTargets, TopKTargets
from auditor.models.base import Head
from auditor.types import Array

STATES = "teacher_states"
"""Key of (N, D) hidden states in a batch."""
_SPARSE = {"topk": ("ids", "logprobs", "tail_mass"), "pps": ("ids", "weights", "entropy")}


class CapturedTeacher:
    """Reads the teacher's rows of a batch from a cache."""

    def __init__(self, cache: LogitCache, store: Sequences) -> None:
        self._cache = cache
        self._store = store

    def batch(self, members: Sequence[int] | Array) -> dict[str, Tensor]:
        """Return the rows of the members' N scored positions, in their order.

        ``teacher_states`` (N, D) for dense; ``targets_*`` of `SparseTargets` otherwise.

        Raises:
            CaseError: the cache does not hold a sequence.
        """
        identity = self._cache.identity
        read = [self._cache.read(self._store, int(member)) for member in members]
        arrays = {name: np.concatenate([part[name] for part in read]) for name in read[0]}
        if identity.scheme == "dense":
            return {STATES: torch.from_numpy(arrays["states"]).float()}
        targets = decode(
            identity.scheme, arrays, identity.k, identity.vocabulary, identity.temperature
        )
        return {f"targets_{name}": getattr(targets, name) for name in _SPARSE[identity.scheme]}


def targets_of(batch: dict[str, Any], temperature: float) -> SparseTargets | None:
    """Return the sparse targets that a batch carries; None where it carries none."""
    if "targets_ids" not in batch:
        return None
    kind = TopKTargets if "targets_logprobs" in batch else PpsTargets
    names = _SPARSE["topk" if kind is TopKTargets else "pps"]
    return kind(temperature=temperature, **{name: batch[f"targets_{name}"] for name in names})


def save_head(path: Path, head: Head) -> None:
    """Write a teacher's unembedding, so that captured hidden states are distributions."""
    from safetensors.torch import save

    tensors = {"weight": head.weight.detach().cpu().contiguous()}
    if head.bias is not None:
        tensors["bias"] = head.bias.detach().cpu().contiguous()
    form = canonical_json({"softcap": head.softcap, "scale": head.scale}).decode()
    atomic_write(path, save(tensors, metadata={"form": form}))


def load_head(path: Path) -> Head:
    """Return the unembedding that `save_head` wrote.

    Raises:
        CaseError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            form = json.loads(file.metadata()["form"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CaseError(
            f"{path} cannot be read: {error}", hint="remove the cache's folder"
        ) from error
    return Head(weight=tensors["weight"], bias=tensors.get("bias"), **form)
