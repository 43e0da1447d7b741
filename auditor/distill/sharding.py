"""FSDP2: a student of which every rank keeps a part, with `accelerate launch --use_fsdp`.

Why not accelerate's own wrapping: it parts models on GPUs only, groups their modules differently
from release to release, and in bf16 rounds the loss and the exchanged gradients. The losses here
read the head's weight beside the hidden states. So torch's `fully_shard` makes one group of each
layer, and one of all the rest (embeddings, last norm, head, projections of a match): the group of
the root, which is whole from the beginning of the student's forward to the end of its backward,
so that inside that forward the head's weight is an ordinary tensor, tied or not.

What leaves the ranks is whole: checkpoints hold what those of a single process hold, and a run can
be continued with other numbers of ranks, sharded or not.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from auditor.distill.launch import reshards_layers, shards_student
from auditor.distill.matching import layers_of
from auditor.distill.ranks import is_first_rank, rank_count, rank_device
from auditor.errors import AccessError, CaseError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

T = TypeVar("T")


class ShardedStudent(nn.Module):
    """Stands where DDP stands in other runs: runs the student's forward, defers the exchange."""

    def __init__(self, module: "PreTrainedModel") -> None:
        super().__init__()
        self.module = module

    def forward(self, *given: Any) -> Any:
        """Return what the student's forward returns."""
        return self.module(*given)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Add gradients up inside the block, to be exchanged by a later backward."""
        sharded: Any = self.module
        sharded.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            sharded.set_requires_gradient_sync(True)


def is_sharded(module: nn.Module) -> bool:
    """Say whether `shard` was applied to a module."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(module, FSDPModule)


def own_copy(module: "PreTrainedModel") -> "PreTrainedModel":
    """Return a copy to be sharded, or the module itself where students stay whole."""
    return copy.deepcopy(module) if shards_student() else module


@contextlib.contextmanager
def in_training(module: "PreTrainedModel") -> "Iterator[PreTrainedModel]":
    """Yield `own_copy`, to be sharded and trained; the module gets its weights on every rank.

    Not where the block ends with an error.
    """
    copied = own_copy(module)
    yield copied
    if copied is not module:
        given = copied.state_dict(keep_vars=True)
        with torch.no_grad():
            for name, tensor in module.state_dict(keep_vars=True).items():
                tensor.copy_(_full(given[name]))


def shard(module: "PreTrainedModel") -> "PreTrainedModel":
    """Return the module with its parameters parted over the ranks, in place, on their devices.

    Does nothing where students stay whole.

    Raises:
        AccessError: the layers of the model cannot be found.
    """
    if not shards_student():
        return module
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    try:
        layers = layers_of(module)
    except AccessError as error:
        raise AccessError(error.message, hint="launch without --use_fsdp") from error
    mesh = init_device_mesh(torch.device(rank_device()).type, (rank_count(),))
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=reshards_layers())
    fully_shard(module, mesh=mesh)
    return module


def inside(module: nn.Module, compute: Callable[[], T]) -> T:
    """Return ``compute()``, run inside the forward of a sharded module, on every rank.

    There it can run parts of the module and read its weights, which are gathered as they are
    needed. A module that is whole is left alone.
    """
    if not is_sharded(module):
        return compute()
    forward = module.forward
    module.forward = compute
    try:
        result: T = module()
        return result
    finally:
        module.forward = forward
        for part in module.modules():
            if is_sharded(part):
                part.reshard()  # type: ignore[operator]


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a sharded module, whole and on the CPU; {} on all ranks but the first.

    To be called by every rank. Names of one tensor share it, as in a module that is whole.
    """
    seen: dict[int, Tensor | None] = {}
    state = module.state_dict(keep_vars=True)
    for tensor in state.values():
        if id(tensor) not in seen:
            seen[id(tensor)] = _gathered(tensor)
    found = {name: seen[id(tensor)] for name, tensor in state.items()}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def load_whole(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Set the weights of a sharded module from a whole state, of which this rank takes its part.

    Raises:
        CaseError: the state lacks some of them, or has others.
    """
    own = module.state_dict(keep_vars=True)
    named = {id(own[name]) for name in own.keys() & state.keys()}
    missing = sorted(name for name, tensor in own.items() if id(tensor) not in named)
    unknown = sorted(state.keys() - own.keys())
    if missing or unknown:
        raise CaseError(
            f"a checkpoint does not fit the student: {', '.join((missing + unknown)[:4])}",
            hint="give a new --out",
        )
    with torch.no_grad():
        for name, tensor in state.items():
            own[name].copy_(_parted(tensor, own[name]))


def whole_optimizer(optimizer: Any) -> dict[str, Any]:
    """Return an optimizer's state, whole and on the CPU; on all ranks but the first, without it.

    To be called by every rank.
    """
    state = optimizer.state_dict()
    whole = {
        number: {name: _gathered(value) for name, value in of.items()}
        for number, of in sorted(state["state"].items())
    }
    return {**state, "state": whole}


def parted_optimizer(state: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    """Return a whole state with this rank's parts, for ``optimizer.load_state_dict``."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    parted = {
        number: {
            name: _parted(value, parameters[number])
            if _is_like(value, parameters[number])
            else value
            for name, value in of.items()
        }
        for number, of in state["state"].items()
    }
    return {**state, "state": parted}


def _is_like(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape


def _full(tensor: Any) -> Tensor:
    """Return all of a tensor, on every rank."""
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole.detach()


def _gathered(value: Any) -> Any:
    """Return all of a tensor on the CPU, to the first rank only; every rank must ask."""
    whole = _full(value) if isinstance(value, Tensor) else value
    if not is_first_rank():
        return None
    return whole.cpu() if isinstance(whole, Tensor) else whole


def _parted(tensor: Tensor, like: Any) -> Tensor:
    """Return this rank's part of a whole tensor that every rank has."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor):
        return tensor
    moved = tensor.to(device=like.device, dtype=like.dtype)
    return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)
