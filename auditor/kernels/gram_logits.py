"""Cosine and Pearson correlation of logits from hidden states, without any logits.

With a = W_a h_a and b = W_b h_b, the sums over the vocabulary are quadratic forms of the hidden
states: sum a b = h_a' (W_a' W_b) h_b, sum a = (W_a' 1)' h_a (kernels.md 3.3). Three D x D tables a
pair of heads then replace V x D work a token by D x D.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from auditor.errors import InputError, VocabularyError
from auditor.kernels.projection import TILE, Projection, weight_tiles

_CHUNK = 4096
"""Positions at a time."""


class LogitCosines(NamedTuple):
    """(T,) float64 each; NaN where a side has no spread."""

    cosine: Tensor
    pearson: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogitGrams:
    """Grams of two heads over their common V token ids, float64; a bias is one more column."""

    aa: Tensor
    """(Da, Da), or one more each with a bias."""
    bb: Tensor
    ab: Tensor
    sum_a: Tensor
    """(Da,): sum of the rows of W_a."""
    sum_b: Tensor
    vocabulary: int

    @classmethod
    def of(
        cls, w_a: Tensor, w_b: Tensor, bias: tuple[Tensor | None, Tensor | None] = (None, None)
    ) -> "LogitGrams":
        """Return the Grams of heads (V, Da) and (V, Db), read in tiles.

        Raises:
            VocabularyError: the heads differ in V.
        """
        if w_a.shape[0] != w_b.shape[0]:
            raise VocabularyError(
                f"w_a has {w_a.shape[0]} token ids and w_b {w_b.shape[0]}",
                hint="cut both heads to the real token ids of a common tokenizer",
            )
        total: list[Tensor] | None = None
        tiles_a, tiles_b = (weight_tiles(w, torch.float64, TILE) for w in (w_a, w_b))
        for (start, a), (_, b) in zip(tiles_a, tiles_b, strict=True):
            x, y = _with_bias(a, bias[0], start), _with_bias(b, bias[1], start)
            part = [x.T @ x, y.T @ y, x.T @ y, x.sum(0), y.sum(0)]
            total = part if total is None else [t.add_(p) for t, p in zip(total, part, strict=True)]
        if total is None:
            raise VocabularyError("w_a and w_b have no token id (V = 0)")
        aa, bb, ab, sum_a, sum_b = total
        return cls(aa=aa, bb=bb, ab=ab, sum_a=sum_a, sum_b=sum_b, vocabulary=int(w_a.shape[0]))

    def cosines(self, h_a: Tensor, h_b: Tensor) -> LogitCosines:
        """Return cosine and Pearson of the logits at T positions from (T, Da) and (T, Db)."""
        parts = [
            self._part(x, y)
            for x, y in zip(torch.split(h_a, _CHUNK), torch.split(h_b, _CHUNK), strict=True)
        ]
        return LogitCosines(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _part(self, h_a: Tensor, h_b: Tensor) -> LogitCosines:
        x, y = _widened(h_a, len(self.sum_a)), _widened(h_b, len(self.sum_b))
        aa = ((x @ self.aa) * x).sum(1)
        bb = ((y @ self.bb) * y).sum(1)
        ab = ((x @ self.ab) * y).sum(1)
        mean_a, mean_b = x @ self.sum_a / self.vocabulary, y @ self.sum_b / self.vocabulary
        var_a = aa - self.vocabulary * mean_a**2
        var_b = bb - self.vocabulary * mean_b**2
        flat = (var_a <= 1e-14 * aa) | (var_b <= 1e-14 * bb)
        pearson = (ab - self.vocabulary * mean_a * mean_b) / (var_a * var_b).clamp(min=0.0).sqrt()
        pearson = torch.where(flat, float("nan"), pearson.clamp(-1.0, 1.0))
        return LogitCosines((ab / (aa * bb).sqrt()).clamp(-1.0, 1.0), pearson)


def cosine_gram_logits(
    h_a: Tensor,
    w_a: Tensor,
    h_b: Tensor,
    w_b: Tensor,
    *,
    bias: tuple[Tensor | None, Tensor | None] = (None, None),
    softcap: tuple[float | None, float | None] = (None, None),
) -> LogitCosines:
    """Return cosine and Pearson of two models' logits at each position, exact, without logits.

    A positive logit multiplier changes neither. For many batches keep `LogitGrams.of(w_a, w_b)`.

    Args:
        h_a: (T, Da) final hidden states of the reference.
        w_a: (V, Da) its unembedding, cut to the real token ids.
        h_b: (T, Db) of the suspect.
        w_b: (V, Db).
        bias: (V,) of each head, or None.
        softcap: of each head; must be None, as capped logits are no linear map of hidden states.

    Returns:
        (T,) float64 in [-1, 1]; NaN where the logits of a side are all 0 (cosine) or all equal
        (Pearson).

    Raises:
        InputError: shapes or types do not fit, or a head has a softcap.
        VocabularyError: the heads differ in V.
    """
    if softcap != (None, None):
        raise InputError(
            f"softcap {softcap}: capped logits are no linear map of the hidden states",
            hint="use linear_agreement, which forms them a chunk at a time",
        )
    sides = [
        Projection(name=n, hidden=h, weight=w, bias=b)
        for n, h, w, b in (("a", h_a, w_a, bias[0]), ("b", h_b, w_b, bias[1]))
    ]
    for side in sides:
        side.check()
    if sides[0].positions != sides[1].positions:
        raise InputError(f"h_a has {sides[0].positions} positions and h_b {sides[1].positions}")
    with torch.no_grad():
        return LogitGrams.of(w_a, w_b, bias).cosines(h_a, h_b)


def _with_bias(tile: Tensor, bias: Tensor | None, start: int) -> Tensor:
    if bias is None:
        return tile
    return torch.cat([tile, bias[start : start + len(tile), None].to(tile.dtype)], 1)


def _widened(hidden: Tensor, width: int) -> Tensor:
    """Return (T, width) float64, with a column of ones where the head has a bias."""
    wide = hidden.double()
    return wide if wide.shape[1] == width else torch.cat([wide, wide.new_ones(len(wide), 1)], 1)
