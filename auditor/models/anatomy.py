"""Which neuron, head or residual dimension each axis of each weight tensor belongs to.

Reordering the units of one kind in every tensor that holds them, consistently, leaves the function
of a model unchanged (Ainsworth et al. 2023, arXiv 2209.04836, section 3). The table below is by
tensor name, so that it serves a module in memory and a file that is read tensor by tensor.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from auditor.errors import InputError

Kind = Literal["residual", "neurons", "query", "key", "value", "output", "fused", "fixed"]
"""``residual``: dimensions of the residual stream. ``neurons``: of the feed-forward block of a
layer. ``query``, ``key``, ``value``: outputs of these projections, head after head. ``output``:
inputs of the attention's output projection. ``fused``: query, key and value after one another.
``fixed``: an axis that nothing may reorder (tokens, positions, parts of a head)."""

_LLAMA: dict[str, tuple[Kind, ...]] = {
    r"embed_tokens\.weight": ("fixed", "residual"),
    r"lm_head\.weight": ("fixed", "residual"),
    r"lm_head\.bias": ("fixed",),
    r"norm\.(weight|bias)": ("residual",),
    r"layers\.N\.\w*(layernorm|layer_norm)\.(weight|bias)": ("residual",),
    r"layers\.N\.self_attn\.q_proj\.weight": ("query", "residual"),
    r"layers\.N\.self_attn\.k_proj\.weight": ("key", "residual"),
    r"layers\.N\.self_attn\.v_proj\.weight": ("value", "residual"),
    r"layers\.N\.self_attn\.q_proj\.bias": ("query",),
    r"layers\.N\.self_attn\.k_proj\.bias": ("key",),
    r"layers\.N\.self_attn\.v_proj\.bias": ("value",),
    r"layers\.N\.self_attn\.[qk]_norm\.weight": ("fixed",),
    r"layers\.N\.self_attn\.o_proj\.weight": ("residual", "output"),
    r"layers\.N\.self_attn\.o_proj\.bias": ("residual",),
    r"layers\.N\.mlp\.(gate|up)_proj\.weight": ("neurons", "residual"),
    r"layers\.N\.mlp\.(gate|up)_proj\.bias": ("neurons",),
    r"layers\.N\.mlp\.down_proj\.weight": ("residual", "neurons"),
    r"layers\.N\.mlp\.down_proj\.bias": ("residual",),
}
_GPT2: dict[str, tuple[Kind, ...]] = {
    r"wte\.weight": ("fixed", "residual"),
    r"lm_head\.weight": ("fixed", "residual"),
    r"wpe\.weight": ("fixed", "residual"),
    r"ln_f\.(weight|bias)": ("residual",),
    r"h\.N\.ln_[12]\.(weight|bias)": ("residual",),
    r"h\.N\.attn\.c_attn\.weight": ("residual", "fused"),
    r"h\.N\.attn\.c_attn\.bias": ("fused",),
    r"h\.N\.attn\.c_proj\.weight": ("output", "residual"),
    r"h\.N\.attn\.c_proj\.bias": ("residual",),
    r"h\.N\.mlp\.c_fc\.weight": ("residual", "neurons"),
    r"h\.N\.mlp\.c_fc\.bias": ("neurons",),
    r"h\.N\.mlp\.c_proj\.weight": ("neurons", "residual"),
    r"h\.N\.mlp\.c_proj\.bias": ("residual",),
}
_TABLES = {"llama": _LLAMA, "gpt2": _GPT2}
_PREFIX = r"(?:model\.|transformer\.)?"
EMBEDDINGS = ("embed_tokens.weight", "wte.weight")
"""How the names of the token embedding end."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a tensor."""

    kind: Kind
    layer: int
    """-1 for what is not of a layer, the residual stream included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """The units of a model, and the axes of its tensors."""

    family: str
    """``llama``: gated, rotary (Llama, Mistral, Qwen and their like); ``gpt2``."""
    width: int
    """Residual dimensions, D."""
    layers: int
    neurons: int
    """Of the feed-forward block of a layer, H."""
    heads: int
    """Query heads."""
    groups: int
    """Key and value heads; each serves heads / groups query heads in a row."""
    head_width: int
    axes: dict[str, tuple[Axis, ...]]
    """By tensor name."""

    @property
    def embedding(self) -> str:
        """Name of the token embedding."""
        return next(name for name in self.axes if name.endswith(EMBEDDINGS))

    def named(self, kind: Kind, layer: int) -> dict[str, int]:
        """Return which axis is of this kind and layer, for every tensor that has one."""
        wanted = Axis(kind, layer)
        return {name: axes.index(wanted) for name, axes in self.axes.items() if wanted in axes}


def anatomy_of(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> Anatomy:
    """Return the anatomy of a model.

    Args:
        shapes: of every weight by its name in transformers; tied ones once.
        config: ``config.json``: the numbers of heads.

    Raises:
        InputError: a tensor is of no known place, or its size contradicts the config.
    """
    family = "gpt2" if any(name.endswith("wte.weight") for name in shapes) else "llama"
    axes = {name: _axes(name, shape, family) for name, shape in shapes.items()}
    heads = _number(config, "num_attention_heads", "n_head")
    sizes = _sizes(shapes, axes)
    if "residual" not in sizes or "neurons" not in sizes or "output" not in sizes:
        raise _unknown("it has no embedding, feed-forward block or attention of a known form")
    groups = int(config.get("num_key_value_heads") or heads)
    anatomy = Anatomy(
        family=family,
        width=sizes["residual"],
        layers=1 + max(axis.layer for found in axes.values() for axis in found),
        neurons=sizes["neurons"],
        heads=heads,
        groups=groups,
        head_width=sizes["output"] // heads,
        axes=axes,
    )
    _check(anatomy, sizes)
    for name, shape in shapes.items():
        # One norm for every head: reordering heads leaves it alone. One over all heads does not.
        if re.search(r"\.[qk]_norm\.", name) and shape != (anatomy.head_width,):
            raise _unknown(f"{name} is not a norm inside one head")
    return anatomy


def _axes(name: str, shape: tuple[int, ...], family: str) -> tuple[Axis, ...]:
    match = re.search(r"\b(?:layers|h)\.(\d+)\.", name)
    layer = -1 if match is None else int(match.group(1))
    for pattern, kinds in _TABLES[family].items():
        if re.fullmatch(_PREFIX + pattern.replace(".N", r".\d+"), name):
            if len(kinds) != len(shape):
                raise _unknown(f"{name} has {len(shape)} axes")
            return tuple(
                Axis(kind, -1 if kind in ("residual", "fixed") else layer) for kind in kinds
            )
    raise _unknown(f"the place of {name} is not known")


def _sizes(
    shapes: Mapping[str, tuple[int, ...]], axes: Mapping[str, tuple[Axis, ...]]
) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, of_tensor in axes.items():
        for axis, size in zip(of_tensor, shapes[name], strict=True):
            if axis.kind != "fixed" and found.setdefault(axis.kind, size) != size:
                raise _unknown(f"{name} has {size} {axis.kind}, others {found[axis.kind]}")
    return found


def _check(anatomy: Anatomy, sizes: Mapping[str, int]) -> None:
    heads, groups, width = anatomy.heads, anatomy.groups, anatomy.head_width
    expected = {
        "query": heads * width,
        "output": heads * width,
        "key": groups * width,
        "value": groups * width,
        "fused": 3 * heads * width,
    }
    if heads % groups:
        raise _unknown(f"{heads} heads cannot share {groups} keys evenly")
    for kind, size in expected.items():
        if sizes.get(kind, size) != size:
            raise _unknown(f"{sizes[kind]} {kind} outputs do not fit {heads} heads")


def _number(config: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if isinstance(config.get(name), int):
            return int(config[name])
    raise _unknown(f"its config has no {names[0]}")


def _unknown(why: str) -> InputError:
    return InputError(
        f"the units of this architecture cannot be told apart: {why}",
        hint="known: Llama and its like (Mistral, Qwen2, Qwen3, ...) and GPT-2",
    )
