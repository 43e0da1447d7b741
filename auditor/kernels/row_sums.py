"""What every torch implementation of the agreement kernel keeps for all T rows, and how it ends.

Implementations differ in how they sum over the vocabulary. Rows that float32 sums cannot hold are
computed by `auditor.kernels.reference`: those with -inf or with logits beyond 1e18, and all of a
float64 table.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from auditor.kernels import reference
from auditor.kernels.first_pass import SideSums
from auditor.kernels.order import CountsBeside, Ordered, first_ids
from auditor.kernels.pairs import Fields, LogitPair, Wanted

_REDO_ELEMENTS = 1 << 15
"""Logits given to float64 code at once: its many tables then take less than the buffers."""
_EXACT_COUNT = 1 << 24
"""Float32 sums count exactly up to here."""
_NEARLY_DISJOINT = 1e-4
"""Bhattacharyya coefficient below which the floor of `first_pass` would show."""
_NEARLY_CONSTANT = 3.6e-7
"""Variance over squared mean below which centring in float32 would show."""


Maxima = tuple[Tensor | None, Tensor | None]


class Divergences(Protocol):
    """Sums over the vocabulary that need both models."""

    def fields(self) -> Fields:
        """Return kl_ab, kl_ba, log_bc, and in the full tier js, tv, hellinger2; float64."""


class RowSums:
    """Sums of all T rows, filled in parts of R rows by an implementation."""

    def __init__(
        self, pair: LogitPair, wanted: Wanted, sides: tuple[SideSums, SideSums], pairs: Divergences
    ) -> None:
        self.pair, self.wanted = pair, wanted
        self.full = wanted.tier == "full"
        self.a, self.b = sides
        self.divergences = pairs
        device, positions = pair.a.device, pair.positions
        self.cross = torch.zeros(positions, device=device)
        """Sum of products of the centred logits."""
        self.above_choice = torch.zeros(positions, device=device, dtype=torch.int64)
        """Number of ids that b puts above a's argmax."""
        self.overlap = torch.zeros((positions, len(wanted.topk)), device=device)
        wide = torch.float64 in (pair.a.dtype, pair.b.dtype)
        careful = wide or pair.vocabulary >= _EXACT_COUNT
        self.bad = torch.full((positions,), careful, device=device)
        """Rows beyond float32 sums."""

    def order(
        self, a: Tensor, b: Tensor, rows: slice, maxima: Maxima = (None, None)
    ) -> tuple[Ordered, Ordered]:
        """Set the largest logits and their overlap; return the first ids of both (R, k).

        Args:
            a: (R, V) float32.
            b: (R, V) float32.
            rows: where they are.
            maxima: of the groups of both, where known already.
        """
        k = max(self.wanted.topk, default=1) if self.full else 1
        first_a, first_b = first_ids(a, k, maxima[0]), first_ids(b, k, maxima[1])
        self.a.choose(first_a, rows)
        self.b.choose(first_b, rows)
        if self.full:
            overlap = reference.overlaps(first_a.ids, first_b.ids, self.wanted.topk)
            self.overlap[rows] = overlap.float()
        return first_a, first_b

    def choice(self, b: Tensor, first_b: Ordered, rows: slice) -> CountsBeside:
        """Return the counts beside b's logit of a's argmax, in `rows` (R, V) of b."""
        return CountsBeside(b.gather(1, self.a.argmax[rows, None]), first_b)

    def fields(self) -> Fields:
        """Return the outputs of all rows: floats as float32, counts as int64."""
        pair, wanted = self.pair, self.wanted
        fields = self.a.fields() | self.b.fields() | self.divergences.fields()
        fields |= self._correlations()
        if self.full:
            fields["rank_argmax_a_in_b"] = self.above_choice + 1
            fields["topk_overlap"] = self.overlap.double()
        apart = ~(fields["log_bc"].exp() > _NEARLY_DISJOINT) & ~self.bad
        _redo(fields, pair, torch.nonzero(apart)[:, 0], reference.overlap_fields)
        flat = self._nearly_constant() & ~self.bad
        _redo(fields, pair, torch.nonzero(flat)[:, 0], reference.correlation_fields)
        bad = torch.nonzero(self.bad)[:, 0]
        _redo(fields, pair, bad, lambda rows: reference.agreement_fields(rows, wanted))
        return {name: v.float() if v.is_floating_point() else v for name, v in fields.items()}

    def _correlations(self) -> Fields:
        width = self.pair.vocabulary
        square_a, square_b = self.a.square.double(), self.b.square.double()
        mean_a, mean_b = self.a.total.double() / width, self.b.total.double() / width
        cross = self.cross.double()
        norms = (square_a + width * mean_a**2) * (square_b + width * mean_b**2)
        cosine = (cross + width * mean_a * mean_b) / norms.sqrt()
        pearson = cross / (square_a * square_b).sqrt()
        return {"cosine": cosine.clamp(-1.0, 1.0), "pearson": pearson.clamp(-1.0, 1.0)}

    def _nearly_constant(self) -> Tensor:
        flat = torch.zeros_like(self.bad)
        for side in (self.a, self.b):
            limit = _NEARLY_CONSTANT * side.total.double() ** 2 / self.pair.vocabulary
            flat |= side.square.double() <= limit
        return flat


def _redo(
    fields: Fields, pair: LogitPair, rows: Tensor, exact: Callable[[LogitPair], Fields]
) -> None:
    """Overwrite the named outputs of some rows (n,) by those that `exact` computes."""
    for group in torch.split(rows, max(1, _REDO_ELEMENTS // pair.vocabulary)):
        for name, values in exact(pair.picked(group)).items():
            fields[name][group] = values.to(fields[name].dtype)
