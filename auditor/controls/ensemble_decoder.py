"""The decoder of an ensemble: names of weights to maps, forward, and gradients by hand."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.controls.ensemble_affine import Affine, Folded, folded, write_gradients
from auditor.controls.ensemble_blocks import (
    Gated,
    Normed,
    Rotation,
    attention,
    attention_backward,
    gelu,
    gelu_backward,
    heads_in,
    heads_in_backward,
    merge_heads,
    normed,
    normed_backward,
    rotation,
    swiglu,
    swiglu_backward,
    unmerge_heads,
)
from auditor.controls.ensemble_shape import NORM_EPSILON, ROPE_BASE, Shape
from auditor.controls.ensemble_weights import Flat


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """The four maps of a layer; the norms' gains belong to the maps after them."""

    qkv: Affine
    out: Affine
    up: Affine
    down: Affine


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """The maps of E members, as views of a flat table (weights, or their gradients)."""

    shape: Shape
    embedding: Tensor
    """(E, V, d)."""
    positions: Tensor | None
    """(E, positions, d), gpt2."""
    layers: tuple[Layer, ...]
    head: Affine
    """V rows, with the final norm's gain and shift."""


def decoder(flat: Flat) -> Decoder:
    """Return the maps that a flat table holds, as views."""
    shape = flat.shape
    llama = shape.architecture == "llama"
    layer = _llama_layer if llama else _gpt2_layer
    return Decoder(
        shape=shape,
        embedding=flat.view(shape.embedding),
        positions=None if llama else flat.view("transformer.wpe.weight"),
        layers=tuple(layer(flat, index) for index in range(shape.layers)),
        head=Affine(
            flat.view(shape.embedding if shape.tied else "lm_head.weight"),
            gain=flat.view("model.norm.weight" if llama else "transformer.ln_f.weight"),
            shift=None if llama else flat.view("transformer.ln_f.bias"),
        ),
    )


def _llama_layer(flat: Flat, index: int) -> Layer:
    at, d, inner = f"model.layers.{index}.", flat.shape.hidden, flat.shape.intermediate
    return Layer(
        qkv=Affine(
            flat.view(f"{at}self_attn.q_proj.weight", (3 * d, d)),
            gain=flat.view(f"{at}input_layernorm.weight"),
        ),
        out=Affine(flat.view(f"{at}self_attn.o_proj.weight")),
        up=Affine(
            flat.view(f"{at}mlp.gate_proj.weight", (2 * inner, d)),
            gain=flat.view(f"{at}post_attention_layernorm.weight"),
        ),
        down=Affine(flat.view(f"{at}mlp.down_proj.weight")),
    )


def _gpt2_layer(flat: Flat, index: int) -> Layer:
    at = f"transformer.h.{index}."

    def conv(name: str, norm: str | None = None) -> Affine:
        return Affine(
            flat.view(f"{at}{name}.weight").transpose(1, 2),
            bias=flat.view(f"{at}{name}.bias"),
            gain=flat.view(f"{at}{norm}.weight") if norm else None,
            shift=flat.view(f"{at}{norm}.bias") if norm else None,
        )

    return Layer(
        qkv=conv("attn.c_attn", "ln_1"),
        out=conv("attn.c_proj"),
        up=conv("mlp.c_fc", "ln_2"),
        down=conv("mlp.c_proj"),
    )


@dataclass(frozen=True, slots=True, eq=False)
class LayerTrace:
    """What the backward pass of a layer needs."""

    maps: tuple[Folded, Folded, Folded, Folded]
    before: Normed
    qkv: Tensor
    p: Tensor
    values: Tensor
    between: Normed
    gated: Gated
    active: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """The result of a forward pass."""

    final: Normed
    """The last residual stream, normalised: what the head reads (without gain and shift)."""
    layers: tuple[LayerTrace, ...]
    """Empty unless kept."""


@dataclass(frozen=True, slots=True, eq=False)
class _Geometry:
    """What depends on the batch's size alone."""

    sequences: int
    mask: Tensor
    turn: Rotation | None


def _geometry(shape: Shape, tokens: Tensor) -> _Geometry:
    _, sequences, length = tokens.shape
    at = torch.arange(length, device=tokens.device)
    llama = shape.architecture == "llama"
    return _Geometry(
        sequences=sequences,
        mask=torch.full((length, length), float("-inf"), device=tokens.device).triu_(1),
        turn=rotation(shape.head_size, at, ROPE_BASE) if llama else None,
    )


def embedded(model: Decoder, tokens: Tensor, start: int = 0) -> Tensor:
    """Return the residual stream (E, d, B*T) before the first layer, of tokens (E, B, T).

    `start` is the position of the first token.
    """
    e, b, t = tokens.shape
    rows = torch.nn.functional.embedding(_row_numbers(model, tokens), model.embedding.flatten(0, 1))
    x = rows.view(e, b * t, -1).transpose(1, 2)  # (E, d, N)
    if model.positions is None:
        return x.contiguous()
    places = model.positions[:, start : start + t].transpose(1, 2)[:, :, None]  # (E, d, 1, T)
    return (torch.unflatten(x, 2, (b, t)) + places).flatten(2).contiguous()


def _row_numbers(model: Decoder, tokens: Tensor) -> Tensor:
    """Return (E, B*T) rows in the table of all members' embeddings."""
    members = torch.arange(tokens.shape[0], device=tokens.device)
    return tokens.flatten(1) + (members * model.shape.vocabulary)[:, None]


def forward(model: Decoder, tokens: Tensor, *, keep: bool) -> Trace:
    """Run E members on tokens (E, B, T); `keep` what the backward pass needs."""
    shape, geometry = model.shape, _geometry(model.shape, tokens)
    x = embedded(model, tokens)
    traces = []
    for layer in model.layers:
        x, trace = _layer_forward(shape, layer, geometry, x)
        if keep:
            traces.append(trace)
    return Trace(normalised(shape, x), tuple(traces))


def normalised(shape: Shape, x: Tensor) -> Normed:
    """Return x (E, d, N) normalised as the architecture does."""
    centred = shape.architecture == "gpt2"
    return normed(x, NORM_EPSILON[shape.architecture], centred=centred)


def _layer_forward(
    shape: Shape, layer: Layer, geometry: _Geometry, x: Tensor
) -> tuple[Tensor, LayerTrace]:
    qkv_map, out, up, down = (folded(m) for m in (layer.qkv, layer.out, layer.up, layer.down))
    before = normalised(shape, x)
    qkv = heads_in(qkv_map(before.x), shape.heads, geometry.sequences, geometry.turn)
    heads, p = attention(qkv, geometry.mask)
    values = merge_heads(heads, x.shape[0], geometry.sequences)
    x = out.added_to(x, values)
    between = normalised(shape, x)
    act = swiglu if shape.architecture == "llama" else gelu
    active, gated = act(up(between.x))
    trace = LayerTrace((qkv_map, out, up, down), before, qkv, p, values, between, gated, active)
    return down.added_to(x, active), trace


def backward(model: Decoder, into: Decoder, trace: Trace, dfinal: Tensor, tokens: Tensor) -> None:
    """Write the gradients of all weights but the head's, given that of `trace.final.x`.

    `dfinal` is overwritten. Call it after the head's gradient was written: a tied embedding adds
    to it.
    """
    shape, sequences = model.shape, tokens.shape[1]
    turn = _geometry(shape, tokens).turn
    centred = shape.architecture == "gpt2"
    dx = normed_backward(dfinal, trace.final, centred=centred)
    for layer, grads, kept in zip(
        reversed(model.layers), reversed(into.layers), reversed(trace.layers), strict=True
    ):
        dx = _mlp_backward(layer, grads, kept, dx, centred=centred)
        dvalues = kept.maps[1].backward(dx)
        write_gradients(layer.out, grads.out, kept.values, dx)
        dheads = attention_backward(
            unmerge_heads(dvalues, shape.heads, sequences), kept.qkv, kept.p
        )
        dqkv = heads_in_backward(dheads, shape.heads, sequences, turn)
        write_gradients(layer.qkv, grads.qkv, kept.before.x, dqkv)
        dx.add_(normed_backward(kept.maps[0].backward(dqkv), kept.before, centred=centred))
    _embedding_backward(model, into, dx, tokens)


def _mlp_backward(
    layer: Layer, grads: Layer, kept: LayerTrace, dx: Tensor, *, centred: bool
) -> Tensor:
    dactive = kept.maps[3].backward(dx)
    write_gradients(layer.down, grads.down, kept.active, dx)
    dinner = (gelu_backward if centred else swiglu_backward)(dactive, kept.gated)
    write_gradients(layer.up, grads.up, kept.between.x, dinner)
    return dx.add_(normed_backward(kept.maps[2].backward(dinner), kept.between, centred=centred))


def _embedding_backward(model: Decoder, into: Decoder, dx: Tensor, tokens: Tensor) -> None:
    e, b, t = tokens.shape
    shape = model.shape
    rows = torch.ops.aten.embedding_dense_backward(
        dx.transpose(1, 2).contiguous(),
        _row_numbers(model, tokens),
        e * shape.vocabulary,
        -1,
        False,
    ).view(e, shape.vocabulary, shape.hidden)
    if shape.tied:
        into.embedding.add_(rows)
    else:
        into.embedding.copy_(rows)
    if into.positions is not None:
        into.positions[:, t:].zero_()
        into.positions[:, :t] = torch.unflatten(dx, 2, (b, t)).sum(2).transpose(1, 2)
