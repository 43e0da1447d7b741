"""Rotating the residual stream of a model with root-mean-square norms leaves its function alone.

The weights of every norm are first multiplied into the matrices that read it; what is left are
plain root-mean-square norms, which commute with a rotation Q (Ashkboos et al. 2024, arXiv
2401.15024, section 3). Then the embedding E becomes E Q, a matrix W that reads the stream W Q, one
that writes to it Q^T W. One definition for those that rotate a model and those that find it out.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from auditor.models.anatomy import Anatomy

if TYPE_CHECKING:
    import torch

    Read = Callable[[str], torch.Tensor]

ROTATABLE = ("llama", "mistral", "qwen2", "qwen3")
"""Types of models with such norms, before each block and nowhere else."""
HEAD = "lm_head.weight"
_NORMS = {"self_attn": "input_layernorm", "mlp": "post_attention_layernorm"}
_READERS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")


def random_rotation(width: int, seed: int) -> "torch.Tensor":
    """Return a uniformly drawn orthogonal matrix (D, D) in float64 (Mezzadri 2007, section 5)."""
    import torch

    q, r = np.linalg.qr(np.random.RandomState(seed).standard_normal((width, width)))
    return torch.from_numpy(q * np.sign(np.diag(r)))


def is_norm(name: str) -> bool:
    """Whether a weight is that of a norm of the residual stream."""
    return name.endswith("norm.weight") and not name.endswith(("q_norm.weight", "k_norm.weight"))


def folded(name: str, read: "Read", anatomy: Anatomy) -> "torch.Tensor":
    """Return a weight in float32 with those of the norm before it multiplied in; norms as ones.

    Args:
        name: of the weight; a head that the model ties to its embedding is read as that.
        read: name -> weight.
        anatomy: of the model.
    """
    import torch

    if is_norm(name):
        return torch.ones(anatomy.width)
    tied = name == HEAD and HEAD not in anatomy.axes
    weight = read(anatomy.embedding if tied else name).float()
    norm = _norm_before(name, anatomy)
    return weight if norm is None else (weight.double() * read(norm).double()).float()


def turned(
    name: str, weight: "torch.Tensor", anatomy: Anatomy, rotation: "torch.Tensor"
) -> "torch.Tensor":
    """Return a folded weight in float32 after the residual stream was rotated.

    Args:
        name: of the weight.
        weight: what `folded` gives.
        anatomy: of the model.
        rotation: (D, D) float64.
    """
    kinds = [axis.kind for axis in anatomy.axes[anatomy.embedding if name == HEAD else name]]
    turn = rotation.to(weight.device)
    if kinds[-1] == "residual" and len(kinds) == 2:
        return (weight.double() @ turn).float()
    if kinds[0] == "residual" and not is_norm(name):
        return (turn.T @ weight.double()).float()
    return weight


def _norm_before(name: str, anatomy: Anatomy) -> str | None:
    """Return the name of the norm whose output a matrix reads, or None."""
    if name == HEAD:
        return next(n for n in anatomy.axes if is_norm(n) and "layers." not in n)
    part, _, projection = name.removesuffix(".weight").rpartition(".")
    if projection not in _READERS or not name.endswith(".weight"):
        return None
    block, _, kind = part.rpartition(".")
    return f"{block}.{_NORMS[kind]}.weight"
