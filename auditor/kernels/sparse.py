"""A teacher's next-token distributions as K entries a position, for training without its logits.

Top-k keeps the K likeliest tokens and one bucket for the rest: the loss is a proper KL of a coarser
distribution, biased as long as the student's shape inside the bucket is free. PPS is a random
sample of fixed size with inclusion probability proportional to size (systematic sampling, Madow
1949; weights of Horvitz & Thompson 1952): the expected target is the teacher's distribution, so the
forward KL and its gradient are unbiased.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.errors import InputError
from auditor.kernels.order import first_ids
from auditor.kernels.pairs import refuse_unusable

_ROWS_ELEMENTS = 1 << 20
"""Logits worked on at once, in float64."""
_MASS = 1e-3
"""How far masses may be from 1: half-precision caches round."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopKTargets:
    """The likeliest tokens and the mass of all others. T positions, K entries."""

    ids: Tensor
    """(T, K) int64, different ones in a row."""
    logprobs: Tensor
    """(T, K) natural logarithms of their probabilities."""
    tail_mass: Tensor
    """(T,) probability of all other tokens."""
    temperature: float = 1.0
    """What the logits were divided by before the softmax; it cannot be changed afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PpsTargets:
    """A sample of K tokens a position whose weights have the teacher's distribution as mean."""

    ids: Tensor
    """(T, K) int64."""
    weights: Tensor
    """(T, K), each row sums to 1. The likeliest tokens have their probability, the sampled ones
    all the same weight."""
    entropy: Tensor
    """(T,) of the whole distribution, in nats: what makes a cross-entropy a KL."""
    temperature: float = 1.0


SparseTargets = TopKTargets | PpsTargets


def topk_targets(logits: Tensor, k: int, *, temperature: float = 1.0) -> TopKTargets:
    """Return the min(k, V) likeliest tokens; equal ones in the order of their ids.

    The tail is summed over the other tokens, so a mass of 1e-12 keeps its digits.

    Args:
        logits: (T, V) of the teacher.
        k: at least 1.
        temperature: divides the logits.

    Raises:
        InputError: k or temperature is not positive, a logit is NaN or +inf, or a row is all -inf.
    """
    parts = []
    for rows in _parts(logits, k, temperature):
        logs = _log_probabilities(rows, temperature)
        ids = first_ids(rows, k).ids
        tail = logs.exp().scatter_(1, ids, 0.0).sum(1)
        parts.append((ids, logs.gather(1, ids), tail))
    ids, logprobs, tail = (torch.cat(column) for column in zip(*parts, strict=True))
    return TopKTargets(
        ids=ids, logprobs=logprobs.float(), tail_mass=tail.float(), temperature=temperature
    )


def pps_targets(
    logits: Tensor, k: int, *, generator: torch.Generator | None = None, temperature: float = 1.0
) -> PpsTargets:
    """Return min(k, V) tokens a position with E[weights at v] = t_v.

    Inclusion probabilities are min(1, c t_v) with sum k: the h likeliest tokens are certain and
    keep their probability, the others share the rest of the mass equally among k - h draws.

    Args:
        logits: (T, V) of the teacher.
        k: at least 1.
        generator: of the T uniform numbers, on the device of `logits`.
        temperature: divides the logits.

    Raises:
        InputError: as `topk_targets`.
    """
    parts = []
    for rows in _parts(logits, k, temperature):
        logs = _log_probabilities(rows, temperature)
        start = torch.rand(len(rows), generator=generator, dtype=torch.float64, device=rows.device)
        ids, weights = pps_sample(logs.exp(), first_ids(rows, k).ids, start)
        entropy = -torch.where(logs.isneginf(), 0.0, logs.exp() * logs).sum(1)
        parts.append((ids, weights, entropy))
    ids, weights, entropy = (torch.cat(column) for column in zip(*parts, strict=True))
    return PpsTargets(
        ids=ids, weights=weights.float(), entropy=entropy.float(), temperature=temperature
    )


def pps_sample(p: Tensor, likeliest: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids (R, k) and weights (R, k) of the systematic sample that begins at `start`.

    Args:
        p: (R, V) float64 probabilities.
        likeliest: (R, k) ids of the largest, in order.
        start: (R,) in [0, 1).
    """
    k = likeliest.shape[1]
    top = p.gather(1, likeliest)  # (R, k)
    rest = p.scatter(1, likeliest, 0.0).sum(1, keepdim=True)
    left = rest + top.flip(1).cumsum(1).flip(1)  # (R, k): mass of the h-th likeliest and beyond
    draws = torch.arange(k, 0, -1, dtype=p.dtype, device=p.device)  # k - h
    # Smallest h whose next token is not certain, (k - h) t <= left. At h = k - 1 that holds.
    head = (draws * top <= left).int().argmax(1, keepdim=True)  # (R, 1)
    place = torch.arange(k, device=p.device)
    certain = place < head  # (R, k)
    # A certain token has no stretch to be drawn from; writing the others again changes nothing.
    stretch = p.scatter(1, likeliest, torch.where(certain, 0.0, top)).cumsum(1)  # (R, V)
    total, number = stretch[:, -1:], draws.gather(0, head[:, 0])[:, None]
    step = total / number
    points = (start[:, None] + (place - head)) * step
    drawn = torch.searchsorted(stretch, torch.where(certain, 0.0, points), right=True)
    drawn = drawn.clamp(max=p.shape[1] - 1)
    return torch.where(certain, likeliest, drawn), torch.where(
        certain, top, left.gather(1, head) / number
    )


def _parts(logits: Tensor, k: int, temperature: float) -> list[Tensor]:
    """Return the rows in parts after checks; at least one part."""
    if logits.ndim != 2 or not logits.dtype.is_floating_point:
        raise InputError(f"logits must be (T, V), found {tuple(logits.shape)} {logits.dtype}")
    if k < 1:
        raise InputError(f"k must be at least 1, found {k}")
    if not 0.0 < temperature < math.inf:
        raise InputError(f"temperature must be positive, found {temperature}")
    if len(logits):
        refuse_unusable("logits", logits)
    step = max(1, _ROWS_ELEMENTS // max(1, logits.shape[1]))
    return list(torch.split(logits.detach(), step))


def _log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    return torch.log_softmax(logits.double() / temperature, 1)


def checked_targets(targets: SparseTargets, positions: int, vocabulary: int) -> SparseTargets:
    """Return `targets`, or raise `InputError` naming what does not fit T positions of V ids."""
    ids = targets.ids
    if ids.ndim != 2 or ids.shape[0] != positions or ids.shape[1] < 1:
        raise InputError(f"targets.ids must be ({positions}, K), found {tuple(ids.shape)}")
    if ids.dtype != torch.int64:
        raise InputError(f"targets.ids must be int64, found {ids.dtype}")
    outside = torch.nonzero((ids < 0) | (ids >= vocabulary))
    if len(outside):
        row, column = outside[0].tolist()
        raise InputError(
            f"targets.ids[{row}, {column}] = {int(ids[row, column])} is not in 0..{vocabulary - 1}"
        )
    masses = _checked_masses(targets)
    wrong = torch.nonzero((masses - 1.0).abs() > _MASS)
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"the masses of targets[{row}] sum to {float(masses[row]):.4g}, not to 1")
    return targets


def _checked_masses(targets: SparseTargets) -> Tensor:
    """Return (T,) sums of all masses of a position."""
    shape = tuple(targets.ids.shape)
    if isinstance(targets, TopKTargets):
        _check_numbers("logprobs", targets.logprobs, shape)
        _check_numbers("tail_mass", targets.tail_mass, shape[:1])
        if bool((targets.tail_mass < 0).any()):
            raise InputError("targets.tail_mass must not be negative")
        ordered = targets.ids.sort(1).values
        if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
            raise InputError("a token is listed twice at one position of targets.ids")
        return targets.logprobs.double().exp().sum(1) + targets.tail_mass.double()
    _check_numbers("weights", targets.weights, shape)
    _check_numbers("entropy", targets.entropy, shape[:1])
    if bool((targets.weights < 0).any()):
        raise InputError("targets.weights must not be negative")
    return targets.weights.double().sum(1)


def _check_numbers(name: str, table: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(table.shape) != shape:
        raise InputError(f"targets.{name} must be {shape}, found {tuple(table.shape)}")
    unusable = torch.isnan(table) | torch.isposinf(table)
    if not table.dtype.is_floating_point or bool(unusable.any()):
        raise InputError(f"targets.{name} must hold numbers below +inf")
