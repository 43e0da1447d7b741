"""The matrices inside a transformers module that statistics of weights read, found by structure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from auditor.errors import AccessError
from auditor.models.offloaded import real_weight

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_GATED = (("gate_proj", "up_proj", "down_proj"),)
_FUSED = (("gate_up_proj", "down_proj"),)
_PLAIN = (
    ("c_fc", "c_proj"),
    ("dense_h_to_4h", "dense_4h_to_h"),
    ("fc1", "fc2"),
    ("up_proj", "down_proj"),
)
_BY_HEAD = ("gpt_neox", "bloom")  # query, key and value of a head side by side


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A linear layer, or one half of a layer that computes two at once."""

    layer: "torch.nn.Module"
    half: Literal[0, 1] | None = None

    @property
    def weight(self) -> "torch.Tensor":
        """(outputs, inputs), no copy."""
        return self._part(_matrix(self.layer), 0)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return int(self._part(_structure(self.layer), 0).shape[0])

    def of_output(self, output: "torch.Tensor") -> "torch.Tensor":
        """Return the part of what the layer computed, (..., all outputs), that is its own."""
        return self._part(output, -1)

    def _part(self, values: "torch.Tensor", axis: int) -> "torch.Tensor":
        return values if self.half is None else values.chunk(2, dim=axis)[self.half]


@dataclass(frozen=True, slots=True, eq=False)
class Mlp:
    """The feed-forward block of one layer: H neurons on D residual dimensions."""

    incoming: Projection
    """(H, D). Gated: the up projection, which is linear in the neuron."""
    gate: Projection | None
    """(H, D); None for a plain MLP."""
    outgoing: "torch.nn.Module"

    @property
    def neurons(self) -> int:
        """H."""
        return self.incoming.outputs

    @property
    def written(self) -> "torch.Tensor":
        """(H, D): what each neuron adds to the residual stream, a view."""
        return _matrix(self.outgoing).T


def mlps_of(module: "PreTrainedModel") -> tuple[Mlp, ...]:
    """Return the feed-forward block of every layer, in order.

    Raises:
        AccessError: they have no known form (mixtures of experts, for one), or a layer has none.
    """
    found = tuple(mlp for part in module.modules() if (mlp := _mlp(part)) is not None)
    _check_one_a_layer(module, len(found), "feed-forward block")
    if len({mlp.gate is None for mlp in found}) > 1:
        raise AccessError(f"{type(module).__name__} mixes gated and plain feed-forward blocks")
    return found


def query_key_of(module: "PreTrainedModel") -> "tuple[tuple[torch.Tensor, torch.Tensor], ...]":
    """Return (W_Q, W_K) of every layer, (outputs, D) each, in order.

    Raises:
        AccessError: the projections have no known form, or a layer has none.
    """
    found = tuple(_query_keys(module))
    _check_one_a_layer(module, len(found), "query and key projection")
    return found


@dataclass(frozen=True, slots=True, eq=False)
class FinalNorm:
    """What stands between the residual stream and the head, as far as it is linear."""

    gain: "torch.Tensor | None"
    """(D,)."""
    centres: bool
    """Whether it subtracts the mean over the residual dimensions."""


def final_norm(module: "PreTrainedModel", width: int) -> FinalNorm:
    """Return the norm before the head: the last one of `width` dimensions outside the layers."""
    import torch

    inside = {id(part) for block in _layer_lists(module) for part in block.modules()}
    norms = [
        part
        for part in module.modules()
        if id(part) not in inside
        and isinstance(gain := getattr(part, "weight", None), torch.Tensor)
        and gain.shape == (width,)
    ]
    if not norms:
        return FinalNorm(gain=None, centres=False)
    return FinalNorm(gain=real_weight(norms[-1]), centres=isinstance(norms[-1], torch.nn.LayerNorm))


def _layer_lists(module: "PreTrainedModel") -> "Iterator[torch.nn.ModuleList]":
    import torch

    return (part for part in module.modules() if isinstance(part, torch.nn.ModuleList))


def _mlp(part: "torch.nn.Module") -> Mlp | None:
    children = {name: child for name, child in part.named_children() if _is_linear(child)}
    for gate, up, down in _GATED:
        if {gate, up, down} <= children.keys():
            return Mlp(Projection(children[up]), Projection(children[gate]), children[down])
    for both, down in _FUSED:
        if {both, down} <= children.keys():
            return Mlp(Projection(children[both], 1), Projection(children[both], 0), children[down])
    for up, down in _PLAIN:
        if {up, down} <= children.keys():
            return Mlp(Projection(children[up]), None, children[down])
    return None


def _query_keys(module: "PreTrainedModel") -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    for part in module.modules():
        children = {name: child for name, child in part.named_children() if _is_linear(child)}
        if {"q_proj", "k_proj"} <= children.keys():
            yield _matrix(children["q_proj"]), _matrix(children["k_proj"])
        elif "c_attn" in children:  # GPT-2: queries, keys and values one after another
            query, key, _ = _matrix(children["c_attn"]).chunk(3)
            yield query, key
        elif "qkv_proj" in children:  # Phi-3: the same, keys in fewer heads than queries
            yield _grouped(part, _matrix(children["qkv_proj"]))
        elif "query_key_value" in children and module.config.model_type in _BY_HEAD:
            weight, count = _matrix(children["query_key_value"]), module.config.num_attention_heads
            heads = weight.reshape(count, 3, -1, weight.shape[1])
            yield heads[:, 0].flatten(0, 1), heads[:, 1].flatten(0, 1)


def _grouped(
    attention: "torch.nn.Module", weight: "torch.Tensor"
) -> "tuple[torch.Tensor, torch.Tensor]":
    config: Any = attention.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    return weight[:queries], weight[queries : queries + keys]


def _check_one_a_layer(module: "PreTrainedModel", found: int, what: str) -> None:
    layers = int(module.config.get_text_config().num_hidden_layers)
    if found != layers:
        raise AccessError(
            f"{type(module).__name__} has {layers} layers, and {found} of them have a {what} "
            "of a known form"
        )


def _is_linear(layer: "torch.nn.Module") -> bool:
    return _conv1d(layer) or getattr(getattr(layer, "weight", None), "ndim", 0) == 2


def _matrix(layer: "torch.nn.Module") -> "torch.Tensor":
    weight = real_weight(layer)
    return weight.T if _conv1d(layer) else weight


def _structure(layer: "torch.nn.Module") -> "torch.Tensor":
    """Return (outputs, inputs), of which the shape alone may be looked at."""
    weight: Any = layer.weight
    tensor: torch.Tensor = weight.detach()
    return tensor.T if _conv1d(layer) else tensor


def _conv1d(layer: "torch.nn.Module") -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(layer, Conv1D)
