"""Recompute a suspect from the reference by every transform that leaves no choice, and compare.

Tensor by tensor from the files: no two models are in memory. What a transform gives is rounded to
the type in which the suspect is stored and compared number by number, so that a copy, a quantised
copy, a pruned one and so on agree bit for bit. +0 and -0 count as equal.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from auditor.collect.forms import COPY, Count, Stored, as_stored, count, forms_for, merged_form
from auditor.models.anatomy import EMBEDDINGS
from auditor.panel import REDERIVATION
from auditor.types import Array

if TYPE_CHECKING:
    import torch

TRIVIAL = 0.25
"""A tensor whose rows agree with their neighbours to this share says nothing (norms of ones)."""
LEAST = 0.01
"""Fewer equal elements in a tensor, above three times those of neighbouring rows, happen by chance
in narrow types; they count as none."""
FEWEST = 16
"""A tensor with fewer elements other than 0 says nothing."""
TRIED = 3
"""Matrices without a hit after which a partner is no parent."""
_HEAD = "lm_head.weight"
_Key = tuple[str, int]


class Weights(Protocol):
    """What is read of a model: `auditor.models.weight_files.WeightFiles`, or one rearranged."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every weight by name."""
        ...

    def stored_type(self, name: str) -> str:
        """Return the type in the file."""
        ...

    def read(self, name: str) -> "torch.Tensor":
        """Return one tensor."""
        ...


@dataclass(slots=True)
class Partner:
    """Another possible parent of a merge."""

    number: int
    """Index into the subjects of the plan."""
    weights: Weights
    misses: int = 0
    hits: int = 0

    @property
    def possible(self) -> bool:
        """Whether it may still turn out to be a parent."""
        return self.hits > 0 or self.misses < TRIED


@dataclass(slots=True)
class _Tally:
    tensors_equal: int = 0
    elements_equal: int = 0
    elements: int = 0


@dataclass(slots=True)
class Rederivation:
    """What every transform reproduced of the tensors of a suspect."""

    tensors: int = 0
    """Tested."""
    elements: int = 0
    """Of these, other than 0."""
    _tallies: dict[_Key, _Tally] = field(default_factory=dict)

    @property
    def best(self) -> float:
        """Largest share of elements over the transforms, in [0, 1]."""
        tallies = [tally for tally in self._tallies.values() if tally.elements]
        return max((tally.elements_equal / tally.elements for tally in tallies), default=0.0)

    def add(self, counts: Mapping[_Key, Count], size: int) -> None:
        """Add one tensor of `size` elements other than 0; what is not in `counts` missed it."""
        for key in counts:
            self._tallies.setdefault(key, _Tally(elements=self.elements))
        missed = Count(0, size, whole=False)
        for key, tally in self._tallies.items():
            found = counts.get(key, missed)
            tally.tensors_equal += found.whole
            tally.elements_equal += found.equal
            tally.elements += found.elements
        self.tensors += 1
        self.elements += size

    def rows(self, prefix: str = "") -> Array:
        """Return the (n,) REDERIVATION rows; `prefix` goes before each transform's name."""
        found = np.zeros(len(self._tallies), dtype=REDERIVATION)
        for row, ((transform, partner), tally) in zip(found, self._tallies.items(), strict=True):
            row["transform"], row["partner"] = prefix + transform, partner
            row["tensors_equal"], row["tensors"] = tally.tensors_equal, self.tensors
            row["elements_equal"], row["elements"] = tally.elements_equal, tally.elements
        return found


def rederive(
    suspect: Weights, reference: Weights, partners: Iterable[Partner] = ()
) -> Rederivation:
    """Return how much of the suspect each transform of the reference reproduces.

    Counted are the suspect's tensors whose rows differ from one another; one without a
    counterpart of its name and shape in the reference is missed by every transform.

    Raises:
        SubjectError: a tensor holds NaN or an infinity.
    """
    found = Rederivation()
    others = tuple(partners)
    for name, shape in suspect.shapes.items():
        stored = as_stored(suspect.read(name))
        theirs = stored.values
        ours = counterpart(reference, name, shape)
        source = theirs.float() if ours is None else reference.read(ours).float()
        chance = neighbour_share(stored.rounded(source))
        size = int(theirs.count_nonzero())
        if chance >= TRIVIAL or size < FEWEST:
            continue
        counts: dict[_Key, Count] = {}
        if ours is not None:
            least = LEAST + 3 * chance
            copied = count(stored, source, COPY, least)
            for form in forms_for(theirs, suspect.stored_type(name)):
                same = form.change is None
                counts[form.name, -1] = copied if same else count(stored, source, form, least)
            counts.update(_merges(stored, source, _tensors(others, name, shape), least))
            counts["by-tensor", -1] = max(counts.values(), key=_share)
        found.add(counts, size)
    return found


def counterpart(weights: Weights, name: str, shape: tuple[int, ...]) -> str | None:
    """Return the tensor of this name and shape, or the embedding for a head that is not tied."""
    shapes = weights.shapes
    if name not in shapes and name == _HEAD:
        name = next((other for other in shapes if other.endswith(EMBEDDINGS)), name)
    return name if shapes.get(name) == shape else None


def _tensors(
    partners: Iterable[Partner], name: str, shape: tuple[int, ...]
) -> "Iterator[tuple[Partner, torch.Tensor]]":
    for partner in partners:
        other = counterpart(partner.weights, name, shape) if partner.possible else None
        if other is not None:
            yield partner, partner.weights.read(other).float()


def _merges(
    suspect: Stored,
    source: "torch.Tensor",
    others: "Iterable[tuple[Partner, torch.Tensor]]",
    least: float,
) -> Iterator[tuple[_Key, Count]]:
    for partner, other in others:
        form = merged_form(source, other, suspect)
        if form is None:
            partner.misses += source.ndim == 2
            continue
        partner.hits += 1
        yield ("merged", partner.number), count(suspect, source, form, least)


def _share(found: Count) -> float:
    return found.equal / max(found.elements, 1)


def neighbour_share(weight: "torch.Tensor") -> float:
    """Return the share of elements that equal their neighbour in the next row, or next place."""
    if len(weight) < 2 or not bool((weight != 0).any()):
        return 1.0
    return float(((weight == weight.roll(1, dims=0)) & (weight != 0)).float().mean())
