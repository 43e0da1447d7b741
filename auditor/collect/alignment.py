"""The order of one model's units that fits another's weights best.

Weight matching (Ainsworth et al. 2023, arXiv 2209.04836, section 3.1), done once and top down: the
residual dimensions from the token embedding, then with their order the neurons and heads of each
layer. Between a model and what was derived from it nearly every unit is the nearest of its own
partner, so the assignment problem is solved only where nearest partners collide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.models.anatomy import Anatomy
from auditor.models.arrangement import Arrangement, Heads
from auditor.types import Array

if TYPE_CHECKING:
    import torch

    Read = Callable[[str], torch.Tensor]

CHANCE_FACTOR = 1.5
"""An alignment counts where its cosine is beyond that of matched noise by this factor."""


_MANY = 2048
_LOOKED_AT = 256


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Which unit of the source fits each unit of the target."""

    index: Array
    """(n,): source unit for each target unit."""
    cosine: float
    """Mean cosine of the partners, in [-1, 1]."""


def match_units(target: "torch.Tensor", source: "torch.Tensor") -> Match:
    """Return the assignment of the largest total cosine; (n, F) rows of features each.

    Units of zeros have cosine 0 with everything. Of many units some are looked at first: where each
    of them is its own nearest, all stay in place.
    """
    ours, theirs = _unit_rows(target), _unit_rows(source)
    if len(ours) > _MANY and _in_place(ours, theirs):
        return Match(np.arange(len(ours)), float((ours * theirs).sum(dim=1).mean()))
    cosines = (ours @ theirs.T).numpy()  # (n, n)
    index = cosines.argmax(axis=1)
    if len(np.unique(index)) < len(index):
        from scipy.optimize import linear_sum_assignment

        _, index = linear_sum_assignment(cosines, maximize=True)
    return Match(index, float(cosines[np.arange(len(index)), index].mean()))


def match_residual(target: "torch.Tensor", source: "torch.Tensor") -> Match:
    """Return how residual dimensions fit by their columns in the token embeddings, (V, D) each.

    Columns are centred: what they have in common fits any dimension to any other.
    """
    return match_units(_centred(target), _centred(source))


def residual_cosine(target: "torch.Tensor", source: "torch.Tensor") -> float:
    """Return the mean cosine of the residual dimensions of two embeddings (V, D) as they stand."""
    ours, theirs = _unit_rows(_centred(target)), _unit_rows(_centred(source))
    return float((ours * theirs).sum(dim=1).mean())


def chance_cosine(target: "torch.Tensor", source: "torch.Tensor") -> float:
    """Return the mean cosine to which `match_residual` fits noise of the same row lengths.

    The sign of every token's row is drawn anew: nothing of the source's directions is left.
    """
    import torch

    signs = np.random.RandomState(0).randint(0, 2, size=(1, len(source))) * 2.0 - 1.0
    flipped = _centred(source) * torch.from_numpy(signs).to(torch.float32)
    return match_units(_centred(target), flipped).cosine


def align_layers(target: "Read", source: "Read", anatomy: Anatomy, residual: Array) -> Arrangement:
    """Return the order of the source that fits the target, given that of its residual stream.

    Args:
        target: name -> weight of the model that is fitted.
        source: name -> weight of the model whose units are reordered; of the same anatomy.
        anatomy: of both.
        residual: (D,) source dimension for each target dimension.
    """
    found = Arrangement(residual=residual)
    for layer in range(anatomy.layers):
        ours = _neuron_features(target, anatomy, layer, None)
        theirs = _neuron_features(source, anatomy, layer, residual)
        found.neurons[layer] = match_units(ours, theirs).index
        found.heads[layer] = _match_heads(
            _projections(target, anatomy, layer, None),
            _projections(source, anatomy, layer, residual),
            anatomy,
        )
    return found


def _neuron_features(
    read: "Read", anatomy: Anatomy, layer: int, residual: Array | None
) -> "torch.Tensor":
    """Return (H, F): all weights into and out of each neuron, in the target's residual order."""
    import torch

    parts = []
    for name, place in anatomy.named("neurons", layer).items():
        weight = Arrangement(residual=residual).applied(name, read(name).float(), anatomy)
        parts.append(weight.movedim(place, 0).reshape(anatomy.neurons, -1))
    return torch.cat(parts, dim=1)


def _projections(
    read: "Read", anatomy: Anatomy, layer: int, residual: Array | None
) -> "dict[str, torch.Tensor]":
    """Return the (outputs, D) query, key and value matrices of a layer."""
    found: dict[str, torch.Tensor] = {}
    order = Arrangement(residual=residual)
    for kind in ("query", "key", "value", "fused"):
        for name, place in anatomy.named(kind, layer).items():
            if len(anatomy.axes[name]) == 2:
                weight = order.applied(name, read(name).float(), anatomy)
                found[kind] = weight.movedim(place, 0)
    if "fused" in found:
        found.update(zip(("query", "key", "value"), found.pop("fused").chunk(3), strict=True))
    return found


def _match_heads(
    target: "dict[str, torch.Tensor]", source: "dict[str, torch.Tensor]", anatomy: Anatomy
) -> Heads:
    """Return the order of the source's heads: groups by keys, queries inside, values inside.

    The parts of a query or key head keep their places: rotary positions fix them.
    """
    groups, per_group = anatomy.groups, anatomy.heads // anatomy.groups
    shaped = [
        {
            "key": side["key"].reshape(groups, -1),
            "query": side["query"].reshape(groups, per_group, -1),
            "value": side["value"].reshape(groups, anatomy.head_width, -1),
        }
        for side in (target, source)
    ]
    ours, theirs = shaped
    order = match_units(ours["key"], theirs["key"]).index
    pairs = list(enumerate(order))
    queries = [
        group * per_group + match_units(ours["query"][place], theirs["query"][group]).index
        for place, group in pairs
    ]
    values = [
        match_units(ours["value"][place], theirs["value"][group]).index for place, group in pairs
    ]
    return Heads(groups=order, queries=np.concatenate(queries), values=np.stack(values))


def _centred(embedding: "torch.Tensor") -> "torch.Tensor":
    """Return (D, V): each residual dimension over the tokens, its mean taken away."""
    values = embedding.float()
    return (values - values.mean(dim=0)).T


def _in_place(ours: "torch.Tensor", theirs: "torch.Tensor") -> bool:
    import torch

    rows = torch.linspace(0, len(ours) - 1, _LOOKED_AT).long()
    return bool(torch.equal((ours[rows] @ theirs.T).argmax(dim=1), rows))


def _unit_rows(rows: "torch.Tensor") -> "torch.Tensor":
    import torch

    norms = rows.norm(dim=1, keepdim=True)
    return rows / norms.clamp_min(torch.finfo(rows.dtype).tiny)
