"""Find the rotation of the residual stream that turns the reference into a suspect, and apply it.

Of E and F = E Q the orthogonal Q of least squares is the polar factor of E^T F (Schönemann 1966).
It is first solved from the rows that tokens own, which no reordering moves, then, with neurons and
heads in order, from all matrices. Solved to far below float32, it gives back the suspect's weights
bit for bit but for the few that lie next to a rounding boundary.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from auditor.collect.alignment import align_layers
from auditor.collect.merging import Rearranged
from auditor.collect.rederivation import Weights
from auditor.models.anatomy import Anatomy
from auditor.models.rotation import HEAD, folded, is_norm, turned

if TYPE_CHECKING:
    import torch

ROTATED = 0.01
"""Largest residual of the embeddings, relative to their length, of a rotated copy."""


@dataclass(frozen=True, slots=True, eq=False)
class Turned:
    """The reference with its norms folded in and its residual stream rotated."""

    weights: Weights
    own: Anatomy
    """Of the reference."""
    names: tuple[str, ...]
    """Of the rotated model: those of the reference and a head of its own."""
    rotation: "torch.Tensor"
    """(D, D) float64."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every weight by name."""
        known = self.weights.shapes
        return {name: known.get(name, known[self.own.embedding]) for name in self.names}

    def stored_type(self, name: str) -> str:
        """Return the type that rotated weights are computed in."""
        return "F32"

    def read(self, name: str) -> "torch.Tensor":
        """Return one tensor."""
        weight = folded(name, self.weights.read, self.own)
        return turned(name, weight, self.own, self.rotation)


def unrotated(
    suspect: Weights, reference: Weights, ours: Anatomy, theirs: Anatomy
) -> Rearranged | None:
    """Return the reference turned and rearranged into the suspect, or None where it was not.

    Args:
        suspect: of plain norms if it was rotated.
        reference: of the same shapes; it may tie its head to its embedding.
        ours: anatomy of the suspect.
        theirs: anatomy of the reference.
    """
    import torch

    if HEAD not in suspect.shapes or not _plain_norms(suspect):
        return None
    pairs = [
        (_unit(folded(name, reference.read, theirs)), _unit(suspect.read(name)))
        for name in (theirs.embedding, HEAD)
    ]
    rotation = _polar(sum(a.T @ b for a, b in pairs))
    first, second = pairs[0]
    if float((first @ rotation - second).norm() / second.norm()) > ROTATED:
        return None
    names = tuple(suspect.shapes)
    first_turn = Turned(reference, theirs, names, rotation)
    order = align_layers(suspect.read, first_turn.read, ours, np.arange(ours.width))
    still = replace(first_turn, rotation=torch.eye(ours.width, dtype=torch.float64))
    rotation = _solved(suspect, Rearranged(still, ours, order))
    return Rearranged(replace(still, rotation=rotation), ours, order)


def _plain_norms(suspect: Weights) -> bool:
    norms = [name for name in suspect.shapes if is_norm(name)]
    return bool(norms) and all(bool((suspect.read(name) == 1).all()) for name in norms)


def _solved(suspect: Weights, still: Rearranged) -> "torch.Tensor":
    """Return the rotation solved from every matrix on the residual stream."""
    products = []
    for name, shape in suspect.shapes.items():
        if len(shape) == 2:
            kinds = [axis.kind for axis in still.anatomy.axes[name]]
            place = kinds.index("residual")
            a, b = (_unit(one.read(name).movedim(place, 1)) for one in (still, suspect))
            products.append(a.T @ b)
    return _polar(sum(products))


def _unit(rows: "torch.Tensor") -> "torch.Tensor":
    """Return the rows at length 1: rounding is relative to each."""
    values = rows.double()
    return values / values.norm(dim=1, keepdim=True).clamp_min(1e-300)


def _polar(matrix: "torch.Tensor | int") -> "torch.Tensor":
    import torch

    u, _, v = torch.linalg.svd(torch.as_tensor(matrix))
    return u @ v
