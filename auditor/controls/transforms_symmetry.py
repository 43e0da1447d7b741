"""Replicas that look different: the same function with units in another order, or rotated."""

from typing import TYPE_CHECKING

from auditor.controls.transforms_weights import (
    fresh_module,
    module_anatomy,
    weights_of,
    with_weights,
)
from auditor.errors import InputError
from auditor.models.arrangement import arranged, random_arrangement
from auditor.models.rotation import HEAD, ROTATABLE, folded, random_rotation, turned

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PARTS = {
    "neurons": frozenset({"neurons"}),
    "heads": frozenset({"heads"}),
    "residual": frozenset({"residual"}),
    "all": frozenset({"neurons", "heads", "residual"}),
}
"""What `permuted` moves, by name."""


def permuted(module: "PreTrainedModel", parts: str = "neurons", seed: int = 0) -> "PreTrainedModel":
    """Return a copy that computes the same, its units in a random order.

    Args:
        module: the model; not changed.
        parts: ``neurons`` of every feed-forward block, ``heads`` of every attention (and the value
            dimensions inside each), the ``residual`` stream, or ``all`` of these.
        seed: of the orders.

    Raises:
        InputError: unknown parts, or an architecture whose units cannot be told apart.
    """
    if parts not in PARTS:
        raise InputError(f"unknown parts {parts!r}", hint=f"known: {', '.join(PARTS)}")
    anatomy = module_anatomy(module)
    order = random_arrangement(anatomy, PARTS[parts], seed)
    return with_weights(module, arranged(weights_of(module), anatomy, order))


def rotated(module: "PreTrainedModel", seed: int = 0) -> "PreTrainedModel":
    """Return a copy that computes the same, its residual stream turned by a random rotation.

    See `auditor.models.rotation`. Tied embeddings are untied, because only the head takes the last
    norm's weights.

    Args:
        module: a Llama or one of its like, before which a norm stands; not changed.
        seed: of the rotation.

    Raises:
        InputError: the norms of this architecture do not commute with a rotation.
    """
    kind = module.config.model_type
    if kind not in ROTATABLE:
        raise InputError(
            f"a model of type {kind!r} cannot be rotated: its norms do not commute with a rotation",
            hint=f"known: {', '.join(ROTATABLE)}; permute works for GPT-2, too",
        )
    anatomy, weights = module_anatomy(module), weights_of(module)
    rotation = random_rotation(anatomy.width, seed)
    found = {
        name: turned(name, folded(name, weights.__getitem__, anatomy), anatomy, rotation)
        for name in dict.fromkeys([*weights, HEAD])
    }
    return with_weights(fresh_module(module, tie_word_embeddings=False), found)


def fully_permuted(module: "PreTrainedModel", seed: int = 0) -> "PreTrainedModel":
    """Return `permuted` of all parts, then `rotated` where the architecture allows it."""
    moved = permuted(module, "all", seed)
    return rotated(moved, seed) if module.config.model_type in ROTATABLE else moved
