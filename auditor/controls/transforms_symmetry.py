"""Replicas that look different: the same function with units in another order, or rotated."""

from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.controls.transforms_weights import (
    Weights,
    fresh_module,
    module_anatomy,
    weights_of,
    with_weights,
)
from auditor.errors import InputError
from auditor.models.anatomy import Anatomy
from auditor.models.arrangement import arranged, random_arrangement

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PARTS = {
    "neurons": frozenset({"neurons"}),
    "heads": frozenset({"heads"}),
    "residual": frozenset({"residual"}),
    "all": frozenset({"neurons", "heads", "residual"}),
}
"""What `permuted` moves, by name."""
_ROTATED = ("llama", "mistral", "qwen2", "qwen3")
_INPUT_NORM = {"self_attn": "input_layernorm", "mlp": "post_attention_layernorm"}


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

    The weights of every norm are first multiplied into the matrices that read it, which leaves
    plain root-mean-square norms: these commute with a rotation Q (Ashkboos et al. 2024, arXiv
    2401.15024, section 3). Then the embedding E becomes E Q, a matrix W that reads the stream W Q,
    one that writes to it Q^T W. Tied embeddings are untied, because only the head takes the last
    norm's weights.

    Args:
        module: a Llama or one of its like, before which a norm stands; not changed.
        seed: of the rotation.

    Raises:
        InputError: the norms of this architecture do not commute with a rotation.
    """
    kind = module.config.model_type
    if kind not in _ROTATED:
        raise InputError(
            f"a model of type {kind!r} cannot be rotated: its norms do not commute with a rotation",
            hint=f"known: {', '.join(_ROTATED)}; permute works for GPT-2, too",
        )
    anatomy = module_anatomy(module)
    weights = _folded(weights_of(module), anatomy)
    turned = _turned(weights, anatomy, _rotation(anatomy.width, seed))
    return with_weights(fresh_module(module, tie_word_embeddings=False), turned)


def fully_permuted(module: "PreTrainedModel", seed: int = 0) -> "PreTrainedModel":
    """Return `permuted` of all parts, then `rotated` where the architecture allows it."""
    moved = permuted(module, "all", seed)
    return rotated(moved, seed) if module.config.model_type in _ROTATED else moved


def _folded(weights: Weights, anatomy: Anatomy) -> "dict[str, torch.Tensor]":
    """Return the weights with those of the norms multiplied into their readers, norms all ones."""
    import torch

    prefix = anatomy.embedding.removesuffix("embed_tokens.weight")
    folded = dict(weights)
    folded.setdefault("lm_head.weight", weights[anatomy.embedding])
    for name, weight in folded.items():
        norm = _norm_before(name, prefix)
        if norm is not None:
            folded[name] = (weight.double() * weights[norm].double()).float()
    for name, axes in anatomy.axes.items():
        if axes[0].kind == "residual" and len(axes) == 1 and "norm" in name:
            folded[name] = torch.ones_like(weights[name])
    return folded


def _norm_before(name: str, prefix: str) -> str | None:
    """Return the name of the norm whose output a matrix reads, or None."""
    if name == "lm_head.weight":
        return f"{prefix}norm.weight"
    part, _, projection = name.removesuffix(".weight").rpartition(".")
    if projection not in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"):
        return None
    if not name.endswith(".weight"):
        return None
    block, _, kind = part.rpartition(".")
    return f"{block}.{_INPUT_NORM[kind]}.weight"


def _rotation(width: int, seed: int) -> "torch.Tensor":
    """Return a uniformly drawn orthogonal matrix (D, D) in float64 (Mezzadri 2007, section 5)."""
    import torch

    q, r = np.linalg.qr(np.random.RandomState(seed).standard_normal((width, width)))
    return torch.from_numpy(q * np.sign(np.diag(r)))


def _turned(
    weights: Weights, anatomy: Anatomy, rotation: "torch.Tensor"
) -> "dict[str, torch.Tensor]":
    turned: dict[str, Any] = {}
    for name, weight in weights.items():
        axes = anatomy.axes.get(name) or anatomy.axes[anatomy.embedding]  # an untied head
        kinds = [axis.kind for axis in axes]
        turn = rotation.to(weight.device)
        if kinds[-1] == "residual" and len(kinds) == 2:
            turned[name] = (weight.double() @ turn).float()
        elif kinds[0] == "residual" and "norm" not in name:
            turned[name] = (turn.T @ weight.double()).float()
        else:
            turned[name] = weight
    return turned
