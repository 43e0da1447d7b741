"""A model with its weights in coarser steps: what a change that nobody announced may look like."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.errors import AccessError
from auditor.models.base import Model

if TYPE_CHECKING:
    import torch

_KEPT = ("embed", "wte", "wpe", "lm_head")
"""Quantisers leave the embeddings and the head finer, so the copies keep them: it is the harder
case."""


@dataclass(frozen=True, slots=True)
class Coarseness:
    """Symmetric absolute-maximum rounding, a scale for every group of columns."""

    bits: int
    group: int

    def __str__(self) -> str:
        return f"{self.bits} bits, groups of {self.group}"


FORECAST = Coarseness(4, 32)
"""The copy whose detection is forecast; nothing is chosen by it."""


def coarsen(model: Model, steps: Coarseness) -> None:
    """Round the matrices of the model in place, those of embeddings and head excepted.

    Raises:
        AccessError: the weights are not at hand.
    """
    from auditor.kernels.weight_forms import rounded_groups

    round_matrices(model, lambda weight: rounded_groups(weight, steps.bits, steps.group))


def round_matrices(model: Model, rounded: "Callable[[torch.Tensor], torch.Tensor]") -> None:
    """As `coarsen`, with any rounding of a matrix (rows, columns) of float32."""
    import torch

    from auditor.models.offloaded import is_offloaded
    from auditor.models.transformers_model import TransformersModel

    if not isinstance(model, TransformersModel):
        raise AccessError(f"{model.ref.spec} shows no weights", hint="name a local model")
    if is_offloaded(model.module):
        raise AccessError(
            f"{model.ref.spec} lies partly on the disk, where it cannot be rounded",
            hint="leave device_map out, or keep all of it in memory",
        )
    with torch.no_grad():
        for name, weight in model.module.named_parameters():
            if weight.ndim == 2 and not any(part in name for part in _KEPT):
                weight.copy_(rounded(weight.float()))
