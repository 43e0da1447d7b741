"""Models merged from parents of one shape: linear, spherical, TIES and DARE."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.controls.transforms_weights import Weights, check_share, weights_of, with_weights
from auditor.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

METHODS = ("linear", "slerp", "ties", "dare")
DROPPED = {"ties": 0.8, "dare": 0.9}
"""What the papers drop of each task vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """How parents are merged."""

    method: str = "linear"
    weights: tuple[float, ...]
    """One a parent, in their order; slerp: the second is the place between the two."""
    dropped: float | None = None
    """ties, dare: share of each task vector (parent minus base) that is dropped; None: 0.8, 0.9."""
    seed: int = 0
    """dare: of the drawn masks."""


def merged(
    parents: "Sequence[PreTrainedModel]", merge: Merge, base: "PreTrainedModel | None" = None
) -> "PreTrainedModel":
    """Return a model whose weights are merged from those of `parents`; config of the first.

    linear: the sum of weight x parent (Wortsman et al. 2022, arXiv 2203.05482, for equal weights).
    slerp: sin((1-t) W)/sin W a + sin(t W)/sin W b with W the angle between the two, tensor by
    tensor; linear where they are parallel (Shoemake 1985).
    ties: Yadav et al. 2023, arXiv 2306.01708, algorithm 1: of each task vector keep the largest of
    each tensor (trim), elect the sign of the weighted sum, average what agrees, add to the base.
    dare: Yu et al. 2024, arXiv 2311.03099, equation 1: drop each element of a task vector with
    probability p, divide the rest by 1 - p, add weight x task vector to the base.

    Args:
        parents: 2 or more (slerp: 2) of the same shapes; not changed.
        merge: method, weights and their options.
        base: what the parents were fine-tuned from: ties and dare only.

    Raises:
        InputError: the parents do not fit together or the method; the message names what.
    """
    _check(len(parents), merge, base)
    tables = [weights_of(parent) for parent in parents]
    for table in tables[1:] if base is None else [*tables[1:], weights_of(base)]:
        _check_shapes(tables[0], table)
    combine = _METHODS[merge.method]
    ground = None if base is None else weights_of(base)
    return with_weights(parents[0], dict(combine(tables, merge, ground)))


def parse_parents(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return the specifiers of ``SPEC[=WEIGHT]`` and the weights of all parents, the first too.

    The first parent, which is not in `texts`, keeps what the others leave of 1; without any weight
    all parents weigh the same.

    Raises:
        InputError: a weight is no number, or only some parents have one.
    """
    parts = [_split(text) for text in texts]
    specs = tuple(spec for spec, _ in parts)
    given = [weight for _, weight in parts if weight is not None]
    if not given:
        return specs, (1 / (1 + len(specs)),) * (1 + len(specs))
    if len(given) < len(specs):
        raise InputError("--with: some parents have a weight and some have none")
    return specs, (1 - sum(given), *given)


def _split(text: str) -> tuple[str, float | None]:
    spec, mark, weight = text.rpartition("=")
    # A specifier may hold "=" itself (openai:model?base_url=...), but such a model has no weights.
    if not mark or "/" in weight:
        return text, None
    try:
        return spec, float(weight)
    except ValueError as error:
        raise InputError(
            f"--with {text}: {weight!r} is no weight", hint="--with SPEC=0.3"
        ) from error


def slerp_shares(place: float, angle: float) -> tuple[float, float]:
    """Return the factors of the two ends at `place` in [0, 1] of the arc of `angle` radians."""
    import math

    if math.sin(angle) < 1e-6:  # parallel: the arc is the chord
        return 1 - place, place
    sine = math.sin(angle)
    return math.sin((1 - place) * angle) / sine, math.sin(place * angle) / sine


def angle_between(a: "torch.Tensor", b: "torch.Tensor") -> float:
    """Return the angle of two tensors as vectors, in radians; 0 where one of them is all zeros."""
    import math

    x, y = a.double().flatten(), b.double().flatten()
    norms = float(x.norm() * y.norm())
    return 0.0 if norms == 0 else math.acos(min(1.0, max(-1.0, float(x @ y) / norms)))


_Table = Iterator[tuple[str, "torch.Tensor"]]


def _linear(tables: Sequence[Weights], merge: Merge, ground: Weights | None) -> _Table:
    from auditor.kernels.weight_forms import mixed

    for name in tables[0]:
        yield name, mixed([table[name] for table in tables], merge.weights)


def _slerp(tables: Sequence[Weights], merge: Merge, ground: Weights | None) -> _Table:
    from auditor.kernels.weight_forms import mixed

    first, second = tables
    for name, weight in first.items():
        angle = angle_between(weight, second[name])
        yield name, mixed([weight, second[name]], slerp_shares(merge.weights[1], angle))


def _ties(tables: Sequence[Weights], merge: Merge, ground: Weights | None) -> _Table:
    import torch

    share = DROPPED["ties"] if merge.dropped is None else merge.dropped
    weights = torch.tensor(merge.weights, dtype=torch.float32)
    for name, start in (ground or {}).items():
        trimmed = [_trimmed(table[name] - start, share) for table in tables]
        stacked = torch.stack(trimmed)  # (parents, *shape)
        weight = weights.reshape(-1, *[1] * start.ndim)
        elected = (stacked * weight).sum(0).sign()
        agrees = (stacked.sign() == elected) & (elected != 0)
        total = (agrees * weight).sum(0)
        mean = (stacked * weight * agrees).sum(0) / torch.where(total == 0, 1.0, total)
        yield name, start + mean


def _trimmed(task: "torch.Tensor", share: float) -> "torch.Tensor":
    from auditor.kernels.weight_forms import pruned

    return pruned(task, round(share * task.numel()))


def _dare(tables: Sequence[Weights], merge: Merge, ground: Weights | None) -> _Table:
    import numpy as np
    import torch

    from auditor.kernels.weight_forms import mixed

    share = DROPPED["dare"] if merge.dropped is None else merge.dropped
    random = np.random.RandomState(merge.seed)
    for name, start in sorted((ground or {}).items()):
        tasks = []
        for table in tables:
            kept = torch.from_numpy(random.random_sample(tuple(start.shape)) >= share)
            tasks.append((table[name] - start) * kept.to(start.device) / (1 - share))
        yield name, start + mixed(tasks, merge.weights)


_METHODS: dict[str, Callable[[Sequence[Weights], Merge, Weights | None], _Table]] = {
    "linear": _linear,
    "slerp": _slerp,
    "ties": _ties,
    "dare": _dare,
}


def _check(parents: int, merge: Merge, base: "PreTrainedModel | None") -> None:
    if merge.method not in METHODS:
        raise InputError(f"unknown merge {merge.method!r}", hint=f"known: {', '.join(METHODS)}")
    if parents < 2 or (merge.method == "slerp" and parents != 2):
        raise InputError(
            f"{parents} parents for {merge.method}",
            hint="slerp takes two parents, the others two or more: --with SPEC[=WEIGHT]",
        )
    if len(merge.weights) != parents:
        raise InputError(f"{len(merge.weights)} weights for {parents} parents")
    if (base is None) == (merge.method in DROPPED):
        raise InputError(
            f"{merge.method} {'needs' if base is None else 'has no use for'} a base",
            hint="--base SPEC: what the parents were fine-tuned from, for ties and dare",
        )
    if merge.method == "slerp" and not 0 <= merge.weights[1] <= 1:
        raise InputError(f"slerp: the weight {merge.weights[1]:g} is outside 0..1")
    if merge.dropped is not None:
        check_share(merge.dropped, below=1.0)


def _check_shapes(first: Weights, other: Weights) -> None:
    for name in sorted({*first, *other}):
        if name not in first or name not in other:
            raise InputError(f"the parents do not fit together: {name} is in one of them only")
        if first[name].shape != other[name].shape:
            shapes = f"{tuple(first[name].shape)} and {tuple(other[name].shape)}"
            raise InputError(
                f"the parents do not fit together: {name} is {shapes}",
                hint="merge models of one architecture, size and vocabulary",
            )
