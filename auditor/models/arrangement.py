"""Orders of a model's units, and what they do to its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from auditor.models.anatomy import Anatomy, Axis
from auditor.types import Array

if TYPE_CHECKING:
    import torch


@dataclass(slots=True, kw_only=True, eq=False)
class Heads:
    """The order of the attention heads of one layer, and of the value dimensions inside each."""

    groups: Array
    """(G,): old key-value head at each new place."""
    queries: Array
    """(heads,): old query head at each new place; those of a group stay together."""
    values: Array
    """(G, head width): order of the value dimensions of the head at each new place."""


@dataclass(slots=True, kw_only=True, eq=False)
class Arrangement:
    """Where each unit comes from: ``new[i] = old[index[i]]``. What is not named stays in place."""

    residual: Array | None = None
    """(D,)."""
    neurons: dict[int, Array] = field(default_factory=dict)
    """{layer: (H,)}."""
    heads: dict[int, Heads] = field(default_factory=dict)
    """{layer: Heads}."""

    def index(self, axis: Axis, anatomy: Anatomy) -> Array | None:
        """Return the order along an axis, or None where it does not change."""
        if axis.kind == "residual":
            return self.residual
        if axis.kind == "neurons":
            return self.neurons.get(axis.layer)
        if axis.kind == "fixed" or axis.layer not in self.heads:
            return None
        return _head_index(axis.kind, self.heads[axis.layer], anatomy)

    def applied(self, name: str, tensor: "torch.Tensor", anatomy: Anatomy) -> "torch.Tensor":
        """Return the tensor `name` with its units in the new order."""
        import torch

        for place, axis in enumerate(anatomy.axes[name]):
            index = self.index(axis, anatomy)
            if index is not None:
                tensor = tensor.index_select(place, torch.from_numpy(index).to(tensor.device))
        return tensor

    @property
    def changes(self) -> bool:
        """Whether it moves any unit."""
        orders = [*self.neurons.values(), *([] if self.residual is None else [self.residual])]
        for heads in self.heads.values():
            orders += [heads.groups, heads.queries, *heads.values]
        return any(not np.array_equal(order, np.arange(len(order))) for order in orders)


def _head_index(kind: str, heads: Heads, anatomy: Anatomy) -> Array:
    inside = np.arange(anatomy.head_width)
    query = (heads.queries[:, None] * anatomy.head_width + inside).ravel()
    key = (heads.groups[:, None] * anatomy.head_width + inside).ravel()
    value = (heads.groups[:, None] * anatomy.head_width + heads.values).ravel()
    if kind == "fused":
        size = len(query)
        return np.concatenate([query, size + key, 2 * size + value])
    if kind == "output":
        # Head j reads what the values of its group wrote, in their order.
        per_group = anatomy.heads // anatomy.groups
        order = heads.values[np.arange(anatomy.heads) // per_group]
        return np.asarray((heads.queries[:, None] * anatomy.head_width + order).ravel())
    return np.asarray({"query": query, "key": key, "value": value}[kind])


def random_arrangement(anatomy: Anatomy, parts: "frozenset[str]", seed: int) -> Arrangement:
    """Return a uniformly drawn order of the units named by `parts`.

    Args:
        anatomy: of the model.
        parts: some of ``neurons``, ``heads`` (with the value dimensions inside each) and
            ``residual``.
        seed: of `np.random.RandomState`, whose stream is frozen.
    """
    random = np.random.RandomState(seed)
    found = Arrangement()
    if "residual" in parts:
        found.residual = random.permutation(anatomy.width)
    for layer in range(anatomy.layers):
        if "neurons" in parts:
            found.neurons[layer] = random.permutation(anatomy.neurons)
        if "heads" in parts:
            found.heads[layer] = _random_heads(anatomy, random)
    return found


def _random_heads(anatomy: Anatomy, random: np.random.RandomState) -> Heads:
    per_group = anatomy.heads // anatomy.groups
    groups = random.permutation(anatomy.groups)
    queries = [group * per_group + random.permutation(per_group) for group in groups]
    values = [random.permutation(anatomy.head_width) for _ in groups]
    return Heads(groups=groups, queries=np.concatenate(queries), values=np.stack(values))


def arranged(
    weights: "Mapping[str, torch.Tensor]", anatomy: Anatomy, order: Arrangement
) -> "dict[str, torch.Tensor]":
    """Return every weight with its units in another order."""
    return {name: order.applied(name, tensor, anatomy) for name, tensor in weights.items()}
