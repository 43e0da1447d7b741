"""What one model's logits give alone: normaliser, entropy, ranks, moments, order."""

import torch
from torch import Tensor

from auditor.kernels.order import Ordered
from auditor.kernels.pairs import Fields, LogitPair

_LOG2_E = 1.4426950408889634
_LOWEST = -60.0
"""Least logit below the peak: smaller ones would be denormal numbers, slow and without weight."""


class SideSums:
    """One model's sums, (T,) each, filled block by block of R rows."""

    def __init__(self, name: str, pair: LogitPair, rows: int) -> None:
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
        self.entropy_sum = torch.zeros(positions, device=device)
        """Sum of u exp(u), with u = logit - peak."""
        self.log_norm = torch.zeros(positions, device=device, dtype=torch.float64)
        """lse - peak."""
        self.above = torch.zeros(positions, device=device)
        """Number of ids above the token that came next."""
        self.equal = torch.zeros(positions, device=device)
        """Number of ids with its logit, itself included."""
        self.argmax = torch.zeros(positions, device=device, dtype=torch.int64)
        self._copied = self.table.dtype != torch.float32 or self.table.stride(1) != 1
        shape = (rows, pair.vocabulary)
        self._copy = torch.empty(shape if self._copied else (0, 0), device=device)
        self.probabilities = torch.empty(shape, device=device)

    def load(self, rows: slice) -> Tensor:
        """Return float32 logits (R, V) of `rows`, and set their totals."""
        logits = self.table[rows]
        if self._copied:
            logits = self._copy[: logits.shape[0]].copy_(logits)
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

    def normalise(self, logits: Tensor, rows: slice, scratch: Tensor) -> Tensor:
        """Return the probabilities (R, V), and set normaliser and entropy sum."""
        p = self.probabilities[: logits.shape[0]]
        u = torch.sub(logits, self.peak[rows, None], out=scratch).clamp_(min=_LOWEST)
        torch.mul(u, _LOG2_E, out=p).exp2_()  # twice as fast as exp
        torch.sum(u.mul_(p), 1, out=self.entropy_sum[rows])
        if self.lse is None:
            # Without the argmax: of a sum like 1 + 1e-9, float32 would keep only the 1.
            at = self.argmax[rows, None]
            others = p.scatter_(1, at, 0.0).sum(1)
            p.scatter_(1, at, 1.0)
            self.log_norm[rows] = torch.log1p(others.double())
        else:
            self.log_norm[rows] = self.lse[rows] - self.peak[rows].double()
        return p.mul_(torch.exp(-self.log_norm[rows, None]).float())

    def rank(self, logits: Tensor, rows: slice, scratch: Tensor) -> None:
        """Count the ids above and level with the token that came next, if there is one."""
        if self.tokens is None:
            return
        own = logits.gather(1, self.tokens[rows, None])
        torch.sum(torch.gt(logits, own, out=scratch), 1, out=self.above[rows])
        torch.sum(torch.eq(logits, own, out=scratch), 1, out=self.equal[rows])

    def fields(self) -> Fields:
        """Return the outputs that need this model alone, by name; floats as float64."""
        peak, log_norm = self.peak.double(), self.log_norm
        entropy = log_norm - self.entropy_sum.double() * torch.exp(-log_norm)
        fields = {
            "lse": peak + log_norm,
            "entropy": entropy.clamp(min=0.0),
            "argmax": self.argmax,
        }
        if self.tokens is not None:
            own = self.table.gather(1, self.tokens[:, None])[:, 0].double()
            fields["logp"] = (own - peak) - log_norm
            fields["rank"] = self.above.to(torch.int64) + 1
            fields["ties"] = self.equal.to(torch.int64) - 1
        return {f"{name}_{self.name}": values for name, values in fields.items()}
