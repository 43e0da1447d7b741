"""What one model's logits give alone: normaliser, entropy, ranks, moments, order."""

import torch
from torch import Tensor

from auditor.kernels.order import GROUP, CountsBeside, Ordered, group_maxima
from auditor.kernels.pairs import Fields, LogitPair

_HALF_LOG2_E = 0.7213475204444817
_LOWEST = -43.0
"""Least half logit (base 2) below the peak, 60 nats: the squares of smaller ones would be denormal
numbers, slow and without weight."""


class SideSums:
    """One model's sums, (T,) each, filled block by block of at most `rows` rows.

    Up to `converted` rows of logits of another type are held at a time.
    """

    def __init__(self, name: str, pair: LogitPair, rows: int, converted: int) -> None:
        self.name = name
        self.table = pair.a if name == "a" else pair.b  # (T, V)
        self.tokens = pair.tokens
        self.lse = pair.lse_a if name == "a" else pair.lse_b
        positions, device = pair.positions, pair.a.device
        self.total = torch.zeros(positions, device=device)
        """Sum of logits."""
        self.square = torch.zeros(positions, device=device)
        """Sum of squared distances from the mean logit."""
        self.peak = torch.zeros(positions, device=device)
        """Largest logit."""
        self.others = torch.zeros(positions, device=device)
        """Sum of exp(logit - peak) over all ids but the argmax: of a sum like 1 + 1e-9, float32
        would keep only the 1."""
        self.mean = torch.zeros(positions, device=device)
        """Mean of logit - peak under the model's own distribution."""
        self.above = torch.zeros(positions, device=device, dtype=torch.int64)
        """Number of ids above the token that came next."""
        self.equal = torch.zeros(positions, device=device, dtype=torch.int64)
        """Number of ids with its logit, itself included."""
        self.argmax = torch.zeros(positions, device=device, dtype=torch.int64)
        self.copied = self.table.dtype != torch.float32 or self.table.stride(1) != 1
        """Whether float32 logits are a copy, of up to `converted` rows."""
        shape = (rows, pair.vocabulary)
        copied = (converted, pair.vocabulary) if self.copied else (0, 0)
        self._copy = torch.empty(copied, device=device)
        self.probabilities = torch.empty(shape, device=device)
        self.roots = torch.empty(shape, device=device)
        """Square roots of the probabilities."""

    def logits(self, rows: slice) -> Tensor:
        """Return float32 logits (R, V) of `rows`."""
        logits = self.table[rows]
        return self._copy[: logits.shape[0]].copy_(logits) if self.copied else logits

    def log_norm(self, rows: slice = slice(None)) -> Tensor:
        """Return lse - peak of `rows`, float64."""
        if self.lse is None:
            return torch.log1p(self.others[rows].double())
        return self.lse[rows] - self.peak[rows].double()

    def load(self, rows: slice, step: int) -> tuple[Tensor, Tensor]:
        """Return float32 logits (R, V) of `rows` and their group maxima, and set their totals.

        Both are taken of `step` rows at a time, so that these are read from memory once.
        """
        logits, total = self.logits(rows), self.total[rows]
        maxima = logits.new_empty((len(logits), logits.shape[1] // GROUP))
        for part in slices(len(logits), step):
            group_maxima(logits[part], out=maxima[part])
            torch.sum(logits[part], 1, out=total[part])
        return logits, maxima

    def load_without(self, bad: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Return the same with zeros in the `bad` rows (R,)."""
        logits = self.table[rows].float().masked_fill(bad[:, None], 0.0)
        torch.sum(logits, 1, out=self.total[rows])
        return logits, group_maxima(logits)

    def centred(self, logits: Tensor, rows: slice) -> Tensor:
        """Return logits minus their mean (R, V), in the place of the probabilities."""
        mean = self.total[rows, None] / logits.shape[1]
        return torch.sub(logits, mean, out=self.probabilities[: logits.shape[0]])

    def add_square(self, centred: Tensor, rows: slice) -> None:
        """Set the sum of squares of what `centred` returned, which is used up."""
        torch.sum(centred.square_(), 1, out=self.square[rows])

    def choose(self, first: Ordered, rows: slice) -> None:
        """Set argmax and peak."""
        self.argmax[rows] = first.ids[:, 0]
        self.peak[rows] = first.logits[:, 0]

    def normalise(self, logits: Tensor, rows: slice, scratch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities (R, V) and their roots, and set normaliser and mean."""
        root, p = self.roots[: len(logits)], self.probabilities[: len(logits)]
        half = torch.sub(logits, self.peak[rows, None], out=scratch)
        half.mul_(_HALF_LOG2_E).clamp_(min=_LOWEST)
        torch.exp2(half, out=root)  # twice as fast as exp
        torch.mul(root, root, out=p)
        if self.lse is None:
            at = self.argmax[rows, None]
            others = torch.sum(p.scatter_(1, at, 0.0), 1, out=self.others[rows])
            p.scatter_(1, at, 1.0)
            scale = torch.reciprocal(others + 1.0)
        else:
            scale = torch.exp(-self.log_norm(rows)).float()
        p.mul_(scale[:, None])
        root.mul_(scale.sqrt_()[:, None])
        torch.sum(half.mul_(p), 1, out=self.mean[rows]).div_(_HALF_LOG2_E)
        return p, root

    def counts(self, logits: Tensor, first: Ordered, rows: slice) -> CountsBeside | None:
        """Return the counts beside the token that came next in `rows`, if there is one.

        Args:
            logits: (R, V) of `rows`.
            first: of the same rows.
            rows: where they are.
        """
        if self.tokens is None:
            return None
        return CountsBeside(logits.gather(1, self.tokens[rows, None]), first)

    def rank(self, counts: CountsBeside | None, rows: slice) -> None:
        """Set how many ids are above and level with the token that came next in `rows`."""
        if counts is not None:
            self.above[rows], self.equal[rows] = counts.above, counts.equal

    def fields(self) -> Fields:
        """Return the outputs that need this model alone, by name; floats as float64."""
        peak, log_norm = self.peak.double(), self.log_norm()
        fields = {
            "lse": peak + log_norm,
            "entropy": (log_norm - self.mean.double()).clamp(min=0.0),
            "argmax": self.argmax,
        }
        if self.tokens is not None:
            own = self.table.gather(1, self.tokens[:, None])[:, 0].double()
            fields["logp"] = (own - peak) - log_norm
            fields["rank"] = self.above + 1
            fields["ties"] = self.equal - 1
        return {f"{name}_{self.name}": values for name, values in fields.items()}


def slices(total: int, step: int) -> list[slice]:
    """Return consecutive slices of at most `step` that cover `total`."""
    return [slice(i, min(i + step, total)) for i in range(0, total, step)]
