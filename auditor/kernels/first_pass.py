"""What one model's logits give alone: normaliser, entropy, ranks, moments, order."""

import torch
from torch import Tensor

from auditor.kernels.order import Ordered, counts_beside
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
        self.entropy = torch.zeros(positions, device=device, dtype=torch.float64)
        self.log_norm = torch.zeros(positions, device=device, dtype=torch.float64)
        """lse - peak."""
        self.above = torch.zeros(positions, device=device, dtype=torch.int64)
        """Number of ids above the token that came next."""
        self.equal = torch.zeros(positions, device=device, dtype=torch.int64)
        """Number of ids with its logit, itself included."""
        self.argmax = torch.zeros(positions, device=device, dtype=torch.int64)
        self._copied = self.table.dtype != torch.float32 or self.table.stride(1) != 1
        shape = (rows, pair.vocabulary)
        copied = (converted, pair.vocabulary) if self._copied else (0, 0)
        self._copy = torch.empty(copied, device=device)
        self.probabilities = torch.empty(shape, device=device)
        self.roots = torch.empty(shape, device=device)
        """Square roots of the probabilities."""

    def logits(self, rows: slice) -> Tensor:
        """Return float32 logits (R, V) of `rows`."""
        logits = self.table[rows]
        return self._copy[: logits.shape[0]].copy_(logits) if self._copied else logits

    def load(self, rows: slice) -> Tensor:
        """Return float32 logits (R, V) of `rows`, and set their totals."""
        logits = self.logits(rows)
        torch.sum(logits, 1, out=self.total[rows])
        return logits

    def load_without(self, bad: Tensor, rows: slice) -> Tensor:
        """Return the logits of `rows` with zeros in the `bad` ones (R,), and set their totals."""
        logits = self.table[rows].float().masked_fill(bad[:, None], 0.0)
        torch.sum(logits, 1, out=self.total[rows])
        return logits

    def centred(self, logits: Tensor, rows: slice, scratch: Tensor) -> Tensor:
        """Return logits minus their mean (R, V), and set their sum of squares."""
        mean = self.total[rows, None] / logits.shape[1]
        centred = torch.sub(logits, mean, out=self.probabilities[: logits.shape[0]])
        torch.sum(torch.mul(centred, centred, out=scratch), 1, out=self.square[rows])
        return centred

    def choose(self, first: Ordered, rows: slice) -> None:
        """Set argmax and peak."""
        self.argmax[rows] = first.ids[:, 0]
        self.peak[rows] = first.logits[:, 0]

    def normalise(self, logits: Tensor, rows: slice, scratch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities (R, V) and their roots, and set normaliser and entropy."""
        root, p = self.roots[: len(logits)], self.probabilities[: len(logits)]
        half = torch.sub(logits, self.peak[rows, None], out=scratch)
        half.mul_(_HALF_LOG2_E).clamp_(min=_LOWEST)
        torch.exp2(half, out=root)  # twice as fast as exp
        torch.mul(root, root, out=p)
        if self.lse is None:
            # Without the argmax: of a sum like 1 + 1e-9, float32 would keep only the 1.
            at = self.argmax[rows, None]
            others = p.scatter_(1, at, 0.0).sum(1)
            p.scatter_(1, at, 1.0)
            self.log_norm[rows] = torch.log1p(others.double())
        else:
            self.log_norm[rows] = self.lse[rows] - self.peak[rows].double()
        norm = self.log_norm[rows]
        p.mul_(torch.exp(-norm).float()[:, None])
        root.mul_(torch.exp(-norm / 2).float()[:, None])
        mean = torch.sum(half.mul_(p), 1).double() / _HALF_LOG2_E  # E_p (logit - peak)
        self.entropy[rows] = norm - mean
        return p, root

    def rank(self, logits: Tensor, first: Ordered, rows: slice, scratch: Tensor) -> None:
        """Count the ids above and level with the token that came next, if there is one."""
        if self.tokens is None:
            return
        own = logits.gather(1, self.tokens[rows, None])
        self.above[rows], self.equal[rows] = counts_beside(logits, own, first, scratch)

    def fields(self) -> Fields:
        """Return the outputs that need this model alone, by name; floats as float64."""
        peak, log_norm = self.peak.double(), self.log_norm
        fields = {
            "lse": peak + log_norm,
            "entropy": self.entropy.clamp(min=0.0),
            "argmax": self.argmax,
        }
        if self.tokens is not None:
            own = self.table.gather(1, self.tokens[:, None])[:, 0].double()
            fields["logp"] = (own - peak) - log_norm
            fields["rank"] = self.above + 1
            fields["ties"] = self.equal - 1
        return {f"{name}_{self.name}": values for name, values in fields.items()}
