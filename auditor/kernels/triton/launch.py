"""Both passes over some rows of a pair of tables, merged to one float64 number per row and sum."""

from dataclasses import dataclass
from functools import cached_property

import torch
import triton
from torch import Tensor

from auditor.kernels.pairs import LogitPair
from auditor.kernels.triton import divergence, stats
from auditor.kernels.triton.arithmetic import LOG2_E

LANES, WARPS = 128, 4
PER_LANE = 16
"""Columns per lane and tile: the most that leaves four programs room on a Hopper processor."""
TILE = LANES * PER_LANE
_PROGRAMS = 1024
"""Programs that fill a large GPU; fewer rows are split."""
_SAMPLE = 64
"""Logits of a row whose mean stands for its mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the vocabulary is cut for a kernel."""

    tiles: int
    """Whole tiles per program; a masked one comes after."""
    splits: int
    """Programs per row."""
    width: int
    """Columns that one lane loads at once: 16 bytes."""

    def constants(self, vocabulary: int) -> dict[str, int]:
        """Return the values of the constexpr parameters that both kernels have."""
        return {
            "vocabulary": vocabulary,
            "tiles": self.tiles,
            "splits": self.splits,
            "sub": PER_LANE // self.width,
            "lanes": LANES,
            "width": self.width,
        }


def shape_for(rows: int, vocabulary: int, element_bytes: int) -> Shape:
    """Return how to cut (rows, V) logits: whole rows, or parts of them where rows are few."""
    whole = vocabulary // TILE
    splits = 1
    while splits * 2 <= whole and rows * splits < _PROGRAMS:
        splits *= 2
    return Shape(tiles=whole // splits, splits=splits, width=16 // element_bytes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The rows of a pair that one launch reads."""

    pair: LogitPair
    """Float32 or half-precision tables whose columns are contiguous."""
    numbers: Tensor
    """(n,) int64, n >= 1."""
    careful: bool
    """Whether ids may be -inf in both tables."""

    @property
    def shape(self) -> Shape:
        """How these rows are cut."""
        size = max(self.pair.a.element_size(), self.pair.b.element_size())
        return shape_for(len(self.numbers), self.pair.vocabulary, size)

    def buffer(self, columns: int, dtype: torch.dtype) -> Tensor:
        """Return an empty (n, splits, columns) table."""
        n, splits = len(self.numbers), self.shape.splits
        return torch.empty((n, splits, columns), dtype=dtype, device=self.pair.a.device)

    def logits(self, name: str, ids: Tensor) -> Tensor:
        """Return (n,) or (n, k) float32 logits of table "a" or "b" at ids of that shape."""
        table = self.pair.a if name == "a" else self.pair.b
        numbers = self.numbers if ids.ndim == 1 else self.numbers[:, None]
        return table[numbers, ids].float() + 0.0  # no -0.0: see `is_above`

    def launch(self, kernel: object, *arguments: Tensor, **flags: bool) -> None:
        """Run a kernel of this package over these rows."""
        pair, shape = self.pair, self.shape
        with torch.cuda.device_of(pair.a):  # type: ignore[no-untyped-call]
            kernel[(len(self.numbers), shape.splits)](  # type: ignore[index]
                pair.a,
                pair.b,
                self.numbers,
                *arguments,
                pair.a.stride(0),
                pair.b.stride(0),
                **shape.constants(pair.vocabulary),
                **flags,
                with_tokens=pair.tokens is not None,
                careful=self.careful,
                interp=triton.knobs.runtime.interpret,
                num_warps=WARPS,
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SideStats:
    """One model's sums, (n,) float64. Exponents are logits times `LOG2_E`, base 2."""

    ref: Tensor
    """Subtracted from exponents; a float32 number."""
    total: Tensor
    """Sum of 2^(exponent - ref)."""
    weighted: Tensor
    """The same times exponent - ref."""
    argmax: Tensor
    """int64"""
    above: Tensor
    """int64: ids above the token."""

    @property
    def lse(self) -> Tensor:
        """Log of the sum of exp(logit)."""
        return (self.ref + torch.log2(self.total)) / LOG2_E

    def entropy(self, lse: Tensor) -> Tensor:
        """Return -sum p log p for the normaliser `lse`."""
        log_norm = lse * LOG2_E - self.ref
        return (log_norm - self.weighted * torch.exp2(-log_norm)) / LOG2_E


@dataclass(frozen=True, eq=False)
class Stats:
    """What the first pass found, merged over the parts of each row."""

    a: SideStats
    b: SideStats
    moments: Tensor
    """(n, 5) float64: sums of a, b, aa, bb, ab, of logits less their centre."""
    centres: tuple[Tensor, Tensor]
    used: Tensor
    """(n,) int64: ids that both allow."""
    usable: Tensor
    """(n,) bool: whether float32 sums hold this row."""
    maxima: tuple[Tensor, Tensor] | None
    """(n, V / BLOCK) float32: largest logit of each block of a, of b."""

    @cached_property
    def centred(self) -> tuple[Tensor, Tensor, Tensor]:
        """(n,) sums of squares of a, of b and of products about the means."""
        a, b, aa, bb, ab = self.moments.unbind(1)
        return aa - a * a / self.used, bb - b * b / self.used, ab - a * b / self.used


def first_pass(rows: Rows, maxima: bool) -> Stats:
    """Return the sums of the first pass, with the maxima of blocks if asked for."""
    pair, n = rows.pair, len(rows.numbers)
    sums = rows.buffer(stats.SUMS, torch.float64)
    counts = rows.buffer(stats.COUNTS, torch.int64)
    blocks = -(-pair.vocabulary // stats.BLOCK) if maxima else 0
    tops = [torch.empty((n, blocks), device=pair.a.device) for _ in range(2)]
    centres = _centre(rows, "a"), _centre(rows, "b")
    tokens = token_logits(rows, "a"), token_logits(rows, "b")
    rows.launch(stats.stats_kernel, *centres, *tokens, sums, counts, *tops, with_maxima=maxima)
    moments, tally = sums[:, :, 6:].sum(1), counts[:, :, 2:].sum(1)
    side_a = _merged(rows, "a", sums[:, :, :3], counts)
    side_b = _merged(rows, "b", sums[:, :, 3:6], counts)
    width = torch.full((n,), pair.vocabulary, device=tally.device)
    finite = torch.isfinite(moments).all(1) & torch.isfinite(tokens[0] + tokens[1])
    finite &= (side_a.total > 0) & (side_b.total > 0)
    return Stats(
        a=side_a,
        b=side_b,
        moments=moments,
        centres=centres,
        used=tally[:, 2] if rows.careful else width,
        usable=finite & (tally[:, 3] == 0),
        maxima=(tops[0], tops[1]) if maxima else None,
    )


def _merged(rows: Rows, name: str, sums: Tensor, counts: Tensor) -> SideStats:
    """Merge the parts of each row (kernels.md 2.2), always in the same order."""
    ref, total, weighted = sums.unbind(2)  # (n, splits)
    best = ref.amax(1, keepdim=True)
    shift = ref - best
    scale = torch.exp2(shift)
    column = 0 if name == "a" else 1
    return SideStats(
        ref=best[:, 0],
        total=(total * scale).sum(1),
        weighted=((weighted + shift * total) * scale).sum(1),
        argmax=_first_best(rows, name, counts[:, :, column]),
        above=counts[:, :, 2 + column].sum(1),
    )


def _first_best(rows: Rows, name: str, ids: Tensor) -> Tensor:
    """Return of the ids (n, splits) the lowest of those with the largest logit."""
    ids = ids.clamp(max=rows.pair.vocabulary - 1)  # a part of NaN has none
    logits = rows.logits(name, ids)
    best = logits == logits.amax(1, keepdim=True)
    return torch.where(best, ids, rows.pair.vocabulary - 1).amin(1)


def token_logits(rows: Rows, name: str) -> Tensor:
    """Return (n,) float32 logits of the tokens that came next; 0 where none are given."""
    tokens = rows.pair.tokens
    if tokens is None:
        return torch.zeros(len(rows.numbers), device=rows.numbers.device)
    return rows.logits(name, tokens[rows.numbers])


def _centre(rows: Rows, name: str) -> Tensor:
    """Return (n,) means of some finite logits; any number near the mean would do."""
    step = -(-rows.pair.vocabulary // _SAMPLE)
    table = (rows.pair.a if name == "a" else rows.pair.b)[:, ::step]
    sample = table[rows.numbers].double()
    finite = torch.isfinite(sample)
    total = torch.where(finite, sample, 0.0).sum(1)
    return (total / finite.sum(1).clamp(min=1)).float()


def second_pass(rows: Rows, scalars: Tensor, full: bool) -> tuple[Tensor, Tensor]:
    """Return the sums (n, 6) float64 and counts (n, 3) int64 of `divergence`.

    Args:
        rows: what to read.
        scalars: (n, SCALARS) float32.
        full: whether to compute the sums and counts of the full tier; else they are 0.
    """
    sums = rows.buffer(divergence.SUMS, torch.float64)
    counts = rows.buffer(divergence.COUNTS, torch.int64)
    rows.launch(divergence.divergence_kernel, scalars, sums, counts, full=full)
    return sums.sum(1), counts.sum(1)
