"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): train small matrices beside frozen ones.

The adapters are put into the student's own module, so that backbone and head are called as ever,
and are merged into its weights at the end: the student that is saved is a plain model.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from auditor.distill.recipe_train import LoraChoice
from auditor.errors import MissingExtraError, RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextlib.contextmanager
def adapted(module: "PreTrainedModel", choice: LoraChoice | None, seed: int) -> Iterator[None]:
    """Train adapters alone inside the block; merge them when it ends without an error.

    Raises:
        RecipeError: the target is the head or an embedding, or no layer has that name.
        MissingExtraError: peft is not installed.
    """
    if choice is None:
        yield
        return
    _refuse_head(module, choice)
    _inject(module, choice, seed)
    yield
    _merge(module)
    module.requires_grad_(True)


def _refuse_head(module: "PreTrainedModel", choice: LoraChoice) -> None:
    """The fused losses read the head's own weight: an adapter beside it would not be seen."""
    if choice.targets == "all-linear":
        return
    opened: Any = module
    kept = {id(opened.get_output_embeddings()), id(opened.get_input_embeddings())}
    for name, part in module.named_modules():
        if id(part) in kept and any(
            name == target or name.endswith(f".{target}") for target in choice.targets
        ):
            raise RecipeError(
                f"train.lora.targets names {name}, whose weight the loss reads directly",
                hint="adapt the layers below it, or train without lora",
            )


def _inject(module: "PreTrainedModel", choice: LoraChoice, seed: int) -> None:
    import torch

    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError(
            "train.lora needs the package peft", hint="pip install 'auditor[peft]'"
        ) from error
    targets = choice.targets if isinstance(choice.targets, str) else list(choice.targets)
    config = LoraConfig(
        r=choice.rank,
        lora_alpha=choice.rank if choice.alpha is None else choice.alpha,
        lora_dropout=choice.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    try:
        inject_adapter_in_model(config, module)
    except ValueError as error:
        names = sorted({name.rpartition(".")[2] for name, part in linear_layers(module)})
        raise RecipeError(
            f"train.lora.targets fits no layer: {error}", hint=f"choose from {', '.join(names)}"
        ) from error


def linear_layers(module: "PreTrainedModel") -> list[tuple[str, Any]]:
    """Return the layers that an adapter fits, by name."""
    import torch
    from transformers.pytorch_utils import Conv1D

    kinds = (torch.nn.Linear, Conv1D)
    return [(name, part) for name, part in module.named_modules() if isinstance(part, kinds)]


def _merge(module: "PreTrainedModel") -> None:
    """Add the adapters to the weights beside them and take them out."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapters = [
        (name, part) for name, part in module.named_modules() if isinstance(part, BaseTunerLayer)
    ]
    for name, part in adapters:
        part.merge()
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, part.get_base_layer())
