"""Weights of an ensemble: stacked by name, and as one flat table that an optimiser can step."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.controls.ensemble_shape import Shape
from auditor.errors import InputError

Stacked = dict[str, Tensor]
"""Name in transformers' state dict -> (E, ...), member e at index e."""

INIT_STD = 0.02
_ALIGNED = 16
"""Rows of the flat table are multiples of 16 numbers, one cache line."""


def init_weights(shape: Shape, seeds: Sequence[int]) -> Stacked:
    """Return random fp32 weights of `len(seeds)` members; member e depends on seeds[e] alone.

    The law of transformers: matrices and embeddings normal with standard deviation 0.02 (gpt2:
    the two that write to the residual stream 0.02 / sqrt(2 layers)), biases 0, norm gains 1.
    """
    members = [_random_member(shape, seed) for seed in seeds]
    return _stack(shape, members)


def _random_member(shape: Shape, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    residual = INIT_STD / math.sqrt(2 * shape.layers)
    weights = {}
    for name, size in shape.tensors().items():
        if len(size) == 1:
            weights[name] = torch.zeros(size) if name.endswith("bias") else torch.ones(size)
        else:
            std = residual if name.endswith("c_proj.weight") else INIT_STD
            weights[name] = torch.randn(size, generator=generator) * std
    return weights


def stack_weights(shape: Shape, members: Sequence[Mapping[str, Tensor]]) -> Stacked:
    """Return the members' state dicts as one stack, in fp32; a tied head is dropped.

    Raises:
        InputError: no member, a name is missing or too many, a size differs from the shape's, or
            a weight is not finite.
    """
    if not members:
        raise InputError("an ensemble needs at least one member")
    return _stack(shape, [_checked_member(shape, e, member) for e, member in enumerate(members)])


def _checked_member(shape: Shape, e: int, member: Mapping[str, Tensor]) -> dict[str, Tensor]:
    sizes = shape.tensors()
    given = {name: value for name, value in member.items() if not _tied_head(shape, name)}
    if given.keys() != sizes.keys():
        odd = sorted(given.keys() ^ sizes.keys())
        raise InputError(f"member {e} and its shape differ in {odd[0]} ({len(odd)} names)")
    for name, size in sizes.items():
        if tuple(given[name].shape) != size:
            found = tuple(given[name].shape)
            raise InputError(f"member {e}: {name} is {found}, the shape says {size}")
        if not bool(torch.isfinite(given[name]).all()):
            raise InputError(f"member {e}: {name} holds NaN or infinity")
    return given


def _tied_head(shape: Shape, name: str) -> bool:
    return shape.tied and name == "lm_head.weight"


def _stack(shape: Shape, members: Sequence[Mapping[str, Tensor]]) -> Stacked:
    return {
        name: torch.stack([member[name].detach().float() for member in members])
        for name in shape.tensors()
    }


def member_weights(shape: Shape, stacked: Stacked, member: int) -> dict[str, Tensor]:
    """Return a copy of one member's weights, ready for ``load_state_dict`` (tied head included)."""
    weights = {name: stacked[name][member].clone() for name in shape.tensors()}
    if shape.tied:
        weights["lm_head.weight"] = weights[shape.embedding]
    return weights


def member_count(stacked: Stacked) -> int:
    """Return E."""
    return int(next(iter(stacked.values())).shape[0])


def check_tokens(shape: Shape, tokens: Tensor, members: int) -> None:
    """Refuse tokens that are not (members, texts, at least 1 token), or not of the vocabulary.

    Raises:
        InputError: they are not, or they are more than the shape has positions.
    """
    if tokens.ndim != 3 or tokens.shape[0] != members or 0 in tokens.shape:
        raise InputError(
            f"tokens must be ({members} members, sequences, length), found {tuple(tokens.shape)}"
        )
    if tokens.shape[2] > shape.positions:
        raise InputError(f"{tokens.shape[2]} tokens do not fit {shape.positions} positions")
    low, high = (int(value) for value in tokens.aminmax())
    if low < 0 or high >= shape.vocabulary:
        raise InputError(f"token {low if low < 0 else high} is not in 0..{shape.vocabulary - 1}")


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """All weights as one table, a row a member; the named weights are views of it.

    One optimiser step and one norm then serve every weight of every member.
    """

    shape: Shape
    table: Tensor
    """(E, P), fp32; the last few columns are padding."""

    @staticmethod
    def zeros(shape: Shape, members: int, device: torch.device | None = None) -> "Flat":
        """Return a table of zeros."""
        width = -(-shape.parameters() // _ALIGNED) * _ALIGNED
        return Flat(shape, torch.zeros(members, width, device=device))

    @staticmethod
    def of(shape: Shape, stacked: Stacked) -> "Flat":
        """Return a copy of stacked weights as a table."""
        device = next(iter(stacked.values())).device
        flat = Flat.zeros(shape, member_count(stacked), device)
        for name, value in stacked.items():
            flat.view(name).copy_(value)
        return flat

    def rows(self, first: int, last: int) -> "Flat":
        """Return members first..last-1; a view."""
        return Flat(self.shape, self.table[first:last])

    def view(self, name: str, size: tuple[int, ...] | None = None) -> Tensor:
        """Return (E, *size) from the start of `name` on; a larger size joins its neighbours."""
        start, own = _places(self.shape)[name]
        size = own if size is None else size
        return torch.unflatten(self.table[:, start : start + math.prod(size)], 1, size)

    def stacked(self) -> Stacked:
        """Return the named weights as tensors of their own."""
        return {name: self.view(name).clone() for name in self.shape.tensors()}

    def decayed(self) -> Tensor:
        """Return (P,) 1 where weight decay applies: at matrices, not at norms and biases."""
        mask = torch.zeros(self.table.shape[1], device=self.table.device)
        for start, size in _places(self.shape).values():
            if len(size) > 1:
                mask[start : start + math.prod(size)] = 1.0
        return mask


@functools.cache
def _places(shape: Shape) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Return the first column and the size of each weight."""
    places, start = {}, 0
    for name, size in shape.tensors().items():
        places[name] = (start, size)
        start += math.prod(size)
    return places
