"""Forms that a tensor of weights takes in a deterministic transform of a model.

One definition for both sides: `auditor.controls` writes models with them, `auditor.collect`
recomputes a suspect's tensors with them and compares bit for bit. Arithmetic is float32, each
operation rounded on its own (no fused multiply-add), so a CPU and a GPU give the same bits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from auditor.errors import InputError

NARROW = {"float16": torch.float16, "bfloat16": torch.bfloat16}
BITS = range(2, 17)


def rounded_rows(weight: Tensor, bits: int) -> Tensor:
    """Return `weight` after a round trip through `bits`-bit integers, one scale a row.

    q = round(w / s), half to even, with s = max|w| / (2^(bits-1) - 1), then w' = q s: symmetric
    absolute-maximum rounding (Dettmers et al. 2022, arXiv 2208.07339, section 2.1, a row a vector).
    A row of zeros stays as it is.

    Args:
        weight: (rows, columns) float32.
        bits: 2 to 16.

    Raises:
        InputError: `bits` is outside 2..16.
    """
    if bits not in BITS:
        raise InputError(f"--bits {bits} is outside 2..16")
    largest = weight.abs().amax(dim=1, keepdim=True)
    # A row of zeros has no scale; dividing by the smallest normal leaves it zero.
    scale = (largest / (2 ** (bits - 1) - 1)).clamp_min(torch.finfo(weight.dtype).tiny)
    return (weight / scale).round() * scale


def rounded_groups(weight: Tensor, bits: int, group: int) -> Tensor:
    """Return `weight` after the round trip of `rounded_rows` with one scale for `group` columns.

    A last group may be shorter.

    Args:
        weight: (rows, columns) float32.
        bits: 2 to 16.
        group: columns that share a scale, at least 1.

    Raises:
        InputError: `bits` is outside 2..16.
    """
    parts = torch.split(weight, group, dim=1)
    return torch.cat([rounded_rows(part, bits) for part in parts], dim=1)


def pruned(weight: Tensor, zeros: int) -> Tensor:
    """Return `weight` with its `zeros` elements of least magnitude set to 0.

    Elements as small as the last of them go with it, so the result does not depend on an order
    among equals. 0 zeros returns `weight` itself.

    Args:
        weight: any shape.
        zeros: 0 to the number of elements.
    """
    if zeros == 0:
        return weight
    size = weight.abs()
    limit = size.flatten().kthvalue(zeros).values
    return torch.where(size <= limit, torch.zeros_like(weight), weight)


def mixed(weights: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Return the sum of share x weight, added up from left to right, shares as float32."""
    total = weights[0] * shares[0]
    for weight, share in zip(weights[1:], shares[1:], strict=True):
        total = total + weight * share
    return total
