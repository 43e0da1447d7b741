"""Weights and inputs of a module that accelerate may have spread over devices and the disk.

What lies on the disk, or waits in main memory for a GPU, is on the ``meta`` device in the module:
a shape without numbers. The numbers are read from where accelerate reads them for a forward pass.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from auditor.errors import AccessError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def input_device(module: "PreTrainedModel") -> "torch.device":
    """Return the device that a module takes token ids on."""
    import torch

    own = module.device
    if own.type != "meta":
        return own
    spread: dict[str, Any] = getattr(module, "hf_device_map", {})
    # The device that accelerate brings to life on what lies elsewhere: dispatch_model.
    return torch.device(next((p for p in spread.values() if p not in ("cpu", "disk")), "cpu"))


def is_offloaded(module: "torch.nn.Module") -> bool:
    """Whether some weights of a module are not where the module says."""
    return any(weight.is_meta for weight in module.parameters())


def real_weight(layer: "torch.nn.Module", name: str = "weight") -> "torch.Tensor":
    """Return a parameter of a layer, detached; no copy, but of one that is offloaded.

    Raises:
        AccessError: it is on no device and nothing says where it is kept.
    """
    weight: torch.Tensor = getattr(layer, name)
    if not weight.is_meta:
        return weight.detach()
    for hook in _hooks(layer):
        kept = getattr(hook, "weights_map", None)
        if kept is not None:
            found: torch.Tensor = kept[name].to(device=hook.execution_device, dtype=weight.dtype)
            return found
    raise AccessError(
        f"{name} of {type(layer).__name__} is on no device, and no file of it is known",
        hint="load the model without device_map, or with a map that leaves it in memory",
    )


def real_parameters(module: "torch.nn.Module") -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield (name, detached tensor) of every parameter, sorted by name; tied ones once."""
    # Tied weights are one object, but on the disk they are two of one name there.
    tied = getattr(module, "all_tied_weights_keys", {}) if is_offloaded(module) else {}
    for name in sorted(name for name, _ in module.named_parameters() if name not in tied):
        owner, _, leaf = name.rpartition(".")
        yield name, real_weight(module.get_submodule(owner), leaf)


def _hooks(layer: "torch.nn.Module") -> Iterator[Any]:
    hook: Any = getattr(layer, "_hf_hook", None)
    if hook is not None:
        yield hook
        yield from getattr(hook, "hooks", ())  # of a SequentialHook
