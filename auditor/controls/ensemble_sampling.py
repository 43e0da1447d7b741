"""Texts sampled from an ensemble, token by token with a key-value cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.controls.ensemble_affine import folded
from auditor.controls.ensemble_blocks import gelu, heads_in, merge_heads, rotation, swiglu
from auditor.controls.ensemble_decoder import Decoder, decoder, embedded, normalised
from auditor.controls.ensemble_shape import ROPE_BASE, Shape
from auditor.controls.ensemble_weights import Flat, Stacked, check_tokens, member_count
from auditor.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """How tokens are drawn."""

    new_tokens: int
    temperature: float = 1.0
    """0: always the likeliest token."""
    seeds: Sequence[int] = (0,)
    """One a member: its draws depend on its own seed and prompts alone."""


@torch.no_grad()
def sample(shape: Shape, weights: Stacked, prompts: Tensor, draw: Draw) -> Tensor:
    """Return prompts with new tokens behind them, (E, S, P + new) int64.

    No token ends a text: what follows an end token is drawn like the rest.

    Args:
        shape: of the members.
        weights: of E members.
        prompts: (E, S, P) int64, P >= 1.
        draw: number of new tokens, temperature, seeds.

    Raises:
        InputError: sizes, tokens, the temperature or the number of seeds cannot be used.
    """
    _check(shape, weights, prompts, draw)
    model = _Reader(
        decoder(Flat.of(shape, weights)), prompts, prompts.shape[2] + draw.new_tokens - 1
    )
    generators = [torch.Generator(prompts.device).manual_seed(seed) for seed in draw.seeds]
    logits = model.read(prompts)
    drawn = [prompts]
    for _ in range(draw.new_tokens):
        drawn.append(_drawn(logits, draw.temperature, generators))
        if len(drawn) <= draw.new_tokens:
            logits = model.read(drawn[-1])
    return torch.cat(drawn, 2)


def _drawn(logits: Tensor, temperature: float, generators: list[torch.Generator]) -> Tensor:
    """Return (E, S, 1) tokens from logits (E, S, V)."""
    if temperature == 0:
        return logits.argmax(2, keepdim=True)
    p = torch.softmax(logits / temperature, 2)
    below = p.cumsum(2)
    rows = [torch.rand(p.shape[1], 1, generator=g, device=p.device) for g in generators]
    # The sum may differ from 1 by rounding; u < 1, so u * sum stays below the last step of it,
    # or equals it, which the bound takes to the last token.
    level = torch.stack(rows) * below[:, :, -1:]
    return torch.searchsorted(below, level, right=True).clamp_(max=p.shape[2] - 1)


class _Reader:
    """Members that read more and more tokens and remember keys and values."""

    def __init__(self, model: Decoder, prompts: Tensor, longest: int) -> None:
        shape = model.shape
        e, s, _ = prompts.shape
        self._model = model
        self._layers = [
            tuple(folded(part) for part in (layer.qkv, layer.out, layer.up, layer.down))
            for layer in model.layers
        ]
        self._head = folded(model.head)
        size = (shape.layers, 2, e * s * shape.heads, shape.head_size, longest)
        self._memory = torch.empty(size, device=prompts.device)  # keys and values of each layer
        self._read = 0

    def read(self, tokens: Tensor) -> Tensor:
        """Return logits (E, S, V) after the last of tokens (E, S, T)."""
        shape, (e, s, t) = self._model.shape, tokens.shape
        x = embedded(self._model, tokens, start=self._read)
        at = torch.arange(self._read, self._read + t, device=tokens.device)
        turn = rotation(shape.head_size, at, ROPE_BASE) if shape.architecture == "llama" else None
        self._read += t
        for index, (qkv_map, out, up, down) in enumerate(self._layers):
            heads = heads_in(qkv_map(normalised(shape, x).x), shape.heads, s, turn)
            x = out.added_to(x, merge_heads(self._attended(index, heads), e, s))
            act = swiglu if shape.architecture == "llama" else gelu
            x = down.added_to(x, act(up(normalised(shape, x).x))[0])
        last = torch.unflatten(x, 2, (s, t))[..., -1]  # (E, d, S)
        return self._head(normalised(shape, last).x).transpose(1, 2)

    def _attended(self, index: int, heads: Tensor) -> Tensor:
        """Return the values (M, d/H, T) that queries find in all read so far."""
        q, k, v = heads  # (M, d/H, T)
        t, end = q.shape[2], self._read
        keys, values = self._memory[index, ..., :end]
        keys[..., end - t :] = k
        values[..., end - t :] = v
        mask = torch.full((t, end), float("-inf"), device=q.device).triu_(end - t + 1)
        scores = torch.baddbmm(mask, q.transpose(1, 2), keys, alpha=q.shape[1] ** -0.5)
        return torch.bmm(values, torch.softmax(scores, 2).transpose(1, 2))


def _check(shape: Shape, weights: Stacked, prompts: Tensor, draw: Draw) -> None:
    members = member_count(weights)
    check_tokens(shape, prompts, members)
    if len(draw.seeds) != members:
        raise InputError(f"{members} members need as many seeds, found {len(draw.seeds)}")
    if draw.new_tokens < 1 or not 0 <= draw.temperature < float("inf"):
        raise InputError(f"cannot draw {draw.new_tokens} tokens at temperature {draw.temperature}")
    # The last token is drawn and never read.
    longest = prompts.shape[2] + draw.new_tokens - 1
    if longest > shape.positions:
        raise InputError(f"{longest} tokens do not fit {shape.positions} positions")
