"""The weights of a transformers module as a table, and a module of the same kind with others."""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from auditor.errors import InputError
from auditor.models.anatomy import Anatomy, anatomy_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Weights = Mapping[str, "torch.Tensor"]


def weights_of(module: "PreTrainedModel") -> "dict[str, torch.Tensor]":
    """Return every weight in float32 by name, tied ones once; nothing is copied where it is."""
    return {name: value.detach().float() for name, value in module.named_parameters()}


def with_weights(module: "PreTrainedModel", weights: Weights) -> "PreTrainedModel":
    """Return a copy of `module` in float32 with other weights; `module` is not changed."""
    import torch

    changed: Any = copy.deepcopy(module)
    changed.float()
    with torch.no_grad():
        for name, parameter in changed.named_parameters():  # tied weights are visited once
            parameter.copy_(weights[name])
    return changed


def fresh_module(module: "PreTrainedModel", seed: int = 0, **config: Any) -> "PreTrainedModel":
    """Return a module of the same shape with weights drawn anew, in evaluation mode.

    Args:
        module: gives the config.
        seed: of the weights.
        config: entries of the config that differ.
    """
    import torch
    from transformers import AutoModelForCausalLM

    wanted = copy.deepcopy(module.config)
    wanted.dtype = torch.float32
    for name, value in config.items():
        setattr(wanted, name, value)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh: Any = AutoModelForCausalLM.from_config(wanted)  # type: ignore[no-untyped-call]
    fresh.generation_config = copy.deepcopy(module.generation_config)
    return fresh.eval()


def module_anatomy(module: "PreTrainedModel") -> Anatomy:
    """Return which units the axes of the module's weights belong to.

    Raises:
        InputError: they cannot be told apart in this architecture.
    """
    shapes = {name: tuple(value.shape) for name, value in module.named_parameters()}
    return anatomy_of(shapes, module.config.to_dict())


def check_share(share: float, *, below: float) -> None:
    """Refuse a share outside [0, `below`).

    Raises:
        InputError: it is.
    """
    if not 0 <= share < below:
        raise InputError(f"--share {share:g} is outside 0 <= share < {below:g}")
