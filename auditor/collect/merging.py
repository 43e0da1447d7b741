"""A suspect's weights as a mixture of candidate parents, after their units were put in its order.

Kept are inner products of blocks of weights, from which `auditor.measures.merge_share` solves the
mixture: least squares needs no more, and a few hundred numbers stand for all weights of a block.
Vectors against the reference, not the origin: parents that share a base differ by little, and
their inner products would lose the difference to rounding.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from auditor.collect.alignment import (
    CHANCE_FACTOR,
    align_layers,
    chance_cosine,
    match_residual,
    residual_cosine,
)
from auditor.collect.rederivation import Weights
from auditor.errors import UndefinedError
from auditor.models.anatomy import Anatomy
from auditor.models.arrangement import Arrangement
from auditor.panel import MIXTURE, PARENTS, TENSOR_GROUPS
from auditor.types import Array

if TYPE_CHECKING:
    import torch

BLOCKS = 16
"""Parts that each matrix is cut into: units of the bootstrap."""
EXPLAINED = 0.8
"""Cosine to which a merge's parents explain its token embedding at least."""
_GROUPS = {"embedding": r"embed|wte|wpe|lm_head", "attention": r"attn", "feed-forward": r"mlp"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be a parent."""

    number: int
    """Index into the subjects of the plan."""
    name: str
    weights: Weights
    first: bool = False
    """Whether it stays in however it fits: the reference and a declared base."""


@dataclass(frozen=True, slots=True, eq=False)
class Rearranged:
    """The weights of a model with its units in another order."""

    weights: Weights
    anatomy: Anatomy
    order: Arrangement

    @property
    def shapes(self) -> "dict[str, tuple[int, ...]]":
        """The shape of every weight by name."""
        return dict(self.weights.shapes)

    def stored_type(self, name: str) -> str:
        """Return the type in the file."""
        return self.weights.stored_type(name)

    def read(self, name: str) -> "torch.Tensor":
        """Return one tensor in the new order."""
        return self.order.applied(name, self.weights.read(name), self.anatomy)


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """The candidates that fit a suspect best, in its order; the reference first."""

    candidates: tuple[Candidate, ...]
    order: Arrangement
    """Of the best fit."""


def align_candidates(
    suspect: Weights,
    candidates: Sequence[Candidate],
    anatomy: Anatomy,
    least: float = EXPLAINED,
) -> Aligned:
    """Return the candidates with their units in the suspect's order.

    A merge has one order, that of the copy which was moved: the candidate that fits best gives it
    to all, so that chance fits of the others do not count. One that fits clearly better in
    an order of its own keeps that.

    Args:
        suspect: what is to be explained.
        candidates: of the suspect's shapes; the reference first.
        anatomy: of all of them.
        least: cosine to which the candidates must explain the suspect's token embedding.

    Raises:
        UndefinedError: they do not, or none fits better than noise.
    """
    name = anatomy.embedding
    embedding = suspect.read(name).float()
    theirs = [candidate.weights.read(name).float() for candidate in candidates]
    chance = chance_cosine(embedding, theirs[0])
    matches = [match_residual(embedding, other) for other in theirs]
    best = max(range(len(matches)), key=lambda i: matches[i].cosine)
    if matches[best].cosine < CHANCE_FACTOR * chance:
        raise UndefinedError(
            f"the residual dimensions of none of {len(candidates)} candidates fit its own: "
            f"mean cosine {matches[best].cosine:.2f}, by chance {chance:.2f}"
        )
    index = [best] * len(matches)  # whose order each candidate takes
    strength = [residual_cosine(embedding, other[:, matches[best].index]) for other in theirs]
    for i, match in enumerate(matches):
        if match.cosine > max(CHANCE_FACTOR * chance, 2 * strength[i]):
            index[i], strength[i] = i, match.cosine
    chosen = _chosen(candidates, best, strength)
    _check_embedding(embedding, [theirs[i][:, matches[index[i]].index] for i in chosen], least)

    orders: dict[int, Arrangement] = {}
    for i in {best, *(index[i] for i in chosen)}:
        read = candidates[i].weights.read
        orders[i] = align_layers(suspect.read, read, anatomy, matches[i].index)
    return Aligned(
        tuple(_rearranged(candidates[i], anatomy, orders[index[i]]) for i in chosen), orders[best]
    )


def _check_embedding(
    wanted: "torch.Tensor", parents: "Sequence[torch.Tensor]", least: float
) -> None:
    """Refuse to go on where no mixture of the parents is near the suspect's token embedding.

    Raises:
        UndefinedError: none is.
    """
    table = np.stack([parent.double().numpy().ravel() for parent in parents], axis=1)
    target = wanted.double().numpy().ravel()
    found = np.linalg.lstsq(table, target, rcond=None)[0]
    given = table @ found
    length = float(np.linalg.norm(target) * np.linalg.norm(given))
    cosine = float(target @ given) / length if length > 0 else 0.0
    if cosine < least:
        raise UndefinedError(
            f"the {len(parents)} candidates explain the token embedding to a cosine of "
            f"{cosine:.2f} only, {least:.2f} is asked for: there was no merge of these"
        )


def _chosen(candidates: Sequence[Candidate], best: int, strength: Sequence[float]) -> list[int]:
    """Return the reference, then the best fit, declared bases, and the others by their fit."""
    ranked = sorted(
        range(1, len(candidates)),
        key=lambda i: (i != best, not candidates[i].first, -strength[i]),
    )
    return [0, *ranked[: PARENTS - 1]]


def _rearranged(candidate: Candidate, anatomy: Anatomy, order: Arrangement) -> Candidate:
    return replace(candidate, weights=Rearranged(candidate.weights, anatomy, order))


def mixture_rows(suspect: Weights, candidates: Sequence[Candidate]) -> Array:
    """Return the MIXTURE rows of a suspect and up to PARENTS candidates in its order.

    Matrices only: norms and biases are few and much alike in any two models.

    Raises:
        SubjectError: a tensor holds NaN or an infinity.
    """
    numbers = [candidate.number for candidate in candidates]
    blocks: dict[tuple[int, int], list[tuple[int, Array]]] = {}
    for name, shape in suspect.shapes.items():
        if len(shape) == 2:
            layer, group = tensor_place(name)
            found = blocks.setdefault((layer, group), [])
            found.extend(_block_products(name, suspect, candidates))
    rows = []
    for (layer, group), found in sorted(blocks.items()):
        for block, (elements, gram) in enumerate(found):
            row = np.zeros((), dtype=MIXTURE)
            row["layer"], row["group"], row["block"] = layer, group, block
            row["elements"] = elements
            row["parents"] = [*numbers, *[-1] * (PARENTS - len(numbers))]
            row["gram"][: len(gram), : len(gram)] = gram
            rows.append(row)
    return np.array(rows, dtype=MIXTURE)


def tensor_place(name: str) -> tuple[int, int]:
    """Return the layer and the group of a tensor."""
    match = re.search(r"\b(?:layers|h)\.(\d+)\.", name)
    kinds = [kind for kind, pattern in _GROUPS.items() if re.search(pattern, name)]
    group = TENSOR_GROUPS.index(kinds[0] if kinds else "other")
    return (-1 if match is None else int(match.group(1))), group


def _block_products(
    name: str, suspect: Weights, candidates: Sequence[Candidate]
) -> Iterator[tuple[int, Array]]:
    """Yield (elements, inner products) of each block of rows of one matrix."""
    first = candidates[0].weights.read(name).double().numpy()
    vectors = [suspect.read(name).double().numpy() - first, first]
    vectors += [c.weights.read(name).double().numpy() - first for c in candidates[1:]]
    stacked = np.stack(vectors)  # (1 + parents, rows, columns)
    for part in np.array_split(stacked, min(BLOCKS, len(first)), axis=1):
        flat = np.ascontiguousarray(part).reshape(len(part), -1)
        # Not a matrix product: its rounding depends on the number of threads.
        yield flat.shape[1], np.einsum("in,jn->ij", flat, flat, optimize=False)
