"""Replicas that take less room: the same weights in coarser steps, a narrower type, or fewer."""

from typing import TYPE_CHECKING, Any

from auditor.controls.transforms_weights import check_share, weights_of, with_weights
from auditor.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def quantised(module: "PreTrainedModel", bits: int = 8) -> "PreTrainedModel":
    """Return a copy after a round trip of every matrix through integers, one scale a row.

    Vectors (norms, biases) stay as they are; see `auditor.kernels.weight_forms.rounded_rows`.

    Raises:
        InputError: `bits` is outside 2..16.
    """
    from auditor.kernels.weight_forms import rounded_rows

    return with_weights(
        module,
        {
            name: rounded_rows(weight, bits) if weight.ndim == 2 else weight
            for name, weight in weights_of(module).items()
        },
    )


def narrowed(module: "PreTrainedModel", dtype: str = "float16") -> "PreTrainedModel":
    """Return a copy whose weights are cast to ``float16`` or ``bfloat16`` and stay in that type.

    Raises:
        InputError: another type, or a weight that the type cannot hold.
    """
    import copy

    import torch

    from auditor.kernels.weight_forms import NARROW

    if dtype not in NARROW:
        raise InputError(f"--method {dtype} is no narrow type", hint=f"known: {', '.join(NARROW)}")
    changed: Any = copy.deepcopy(module)
    changed.to(NARROW[dtype])
    for name, weight in changed.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise InputError(
                f"{name} does not fit into {dtype}",
                hint="cast it to bfloat16, whose range is wider",
            )
    return changed


def pruned(module: "PreTrainedModel", share: float = 0.5) -> "PreTrainedModel":
    """Return a copy with the `share` of least magnitude of every matrix set to 0.

    Han et al. 2015, arXiv 1506.02626, without training afterwards, each matrix on its own. Vectors
    and the token and position embeddings stay as they are: without them no text is read any more.

    Args:
        module: the model; not changed.
        share: in [0, 1).

    Raises:
        InputError: `share` is out of range.
    """
    check_share(share, below=1.0)
    return with_weights(
        module,
        {name: _thinned(name, weight, share) for name, weight in weights_of(module).items()},
    )


def _thinned(name: str, weight: "torch.Tensor", share: float) -> "torch.Tensor":
    from auditor.kernels.weight_forms import pruned as zeroed

    if weight.ndim != 2 or name.endswith(_KEPT):
        return weight
    return zeroed(weight, round(share * weight.numel()))


_KEPT = ("embed_tokens.weight", "wte.weight", "wpe.weight", "lm_head.weight")
