"""Single-pass agreement as a monoid: parts of the vocabulary are summed apart and merged.

A `State` holds, for R positions, sums over some token ids. `merge` joins the states of disjoint
sets of ids in any order or grouping: vocabulary shards, chunks, threads and devices all use it.
`fields` then gives what needs one pass only (kernels.md 2.1, 2.2).

KL from here is a difference of sums and loses digits for nearly equal models; for these, give
`lse_a` and `lse_b` of the merged state to `auditor.kernels.agreement`, whose sums over shards add.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.errors import InputError
from auditor.kernels.pairs import Fields


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExpSum:
    """Sums of exp(x - peak) times factors, with the peak they are scaled by. (R,) each."""

    peak: Tensor
    """Largest exponent so far; -inf where all are impossible."""
    sums: Tensor
    """(R, n): one column for each factor."""

    def merge(self, other: "ExpSum") -> "ExpSum":
        """Return the sums over both sets."""
        peak = torch.maximum(self.peak, other.peak)
        mine, theirs = _scale(self.peak, peak), _scale(other.peak, peak)
        sums = _product(self.sums, mine[:, None]) + _product(other.sums, theirs[:, None])
        return ExpSum(peak=peak, sums=sums)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """The largest logit and the lowest id that has it. (R,) each."""

    logit: Tensor
    id: Tensor

    def merge(self, other: "Choice") -> "Choice":
        """Return the better of both: larger logit, then lower id."""
        tied = self.logit == other.logit
        wins = (self.logit > other.logit) | (tied & (self.id < other.id))
        return Choice(
            logit=torch.where(wins, self.logit, other.logit),
            id=torch.where(wins, self.id, other.id),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """Sums over a set of token ids at R positions, float64.

    References are fixed per position and the same in all parts: they only keep numbers small.
    """

    reference_a: Tensor
    """(R,): subtracted from a's logits; the logit of the token that came next, or any number."""
    reference_b: Tensor
    a: ExpSum
    """exp(a) times 1, a, a - b."""
    b: ExpSum
    """exp(b) times 1, b, b - a."""
    half: ExpSum
    """exp((a + b) / 2) times 1."""
    linear: Tensor
    """(R, 6): sums of 1, a, b, a a, b b, a b over the ids that both allow."""
    choice_a: Choice
    choice_b: Choice
    counts: Tensor
    """(R, 4) int64: ids above the reference in a, in b, level with it in a, in b."""

    def merge(self, other: "State") -> "State":
        """Return the state of both sets of ids, which must be disjoint.

        Raises:
            InputError: the references differ.
        """
        for mine, theirs in (
            (self.reference_a, other.reference_a),
            (self.reference_b, other.reference_b),
        ):
            if not torch.equal(mine, theirs):
                raise InputError("only states with the same references can be merged")
        merged = {
            name: getattr(self, name).merge(getattr(other, name))
            for name in ("a", "b", "half", "choice_a", "choice_b")
        }
        return State(
            reference_a=self.reference_a,
            reference_b=self.reference_b,
            linear=self.linear + other.linear,
            counts=self.counts + other.counts,
            **merged,
        )

    def fields(self) -> Fields:
        """Return the outputs by the names of `Agreement`; ranks and ties of the references."""
        log_a, log_b = self.a.sums[:, 0].log(), self.b.sums[:, 0].log()
        shifted_a, shifted_b = self.a.peak + log_a, self.b.peak + log_b
        mean_a = self.a.sums[:, 1:] / self.a.sums[:, :1]  # (R, 2): E_p a, E_p (a - b)
        mean_b = self.b.sums[:, 1:] / self.b.sums[:, :1]
        log_half = self.half.peak + self.half.sums[:, 0].log()
        return {
            "lse_a": shifted_a + self.reference_a,
            "lse_b": shifted_b + self.reference_b,
            "entropy_a": (shifted_a - mean_a[:, 0]).clamp(min=0.0),
            "entropy_b": (shifted_b - mean_b[:, 0]).clamp(min=0.0),
            "kl_ab": (mean_a[:, 1] - shifted_a + shifted_b).clamp(min=0.0),
            "kl_ba": (mean_b[:, 1] - shifted_b + shifted_a).clamp(min=0.0),
            "log_bc": (log_half - (shifted_a + shifted_b) / 2).clamp(max=0.0),
            "logp_a": -shifted_a,
            "logp_b": -shifted_b,
            "argmax_a": self.choice_a.id,
            "argmax_b": self.choice_b.id,
            "rank_a": 1 + self.counts[:, 0],
            "rank_b": 1 + self.counts[:, 1],
            "ties_a": self.counts[:, 2] - 1,
            "ties_b": self.counts[:, 3] - 1,
            **self._correlations(),
        }

    def _correlations(self) -> Fields:
        n, a, b, aa, bb, ab = self.linear.unbind(1)
        ra, rb = self.reference_a, self.reference_b
        raw_ab = ab + ra * b + rb * a + n * ra * rb
        raw_aa = aa + 2 * ra * a + n * ra * ra
        raw_bb = bb + 2 * rb * b + n * rb * rb
        centred = (aa - a * a / n) * (bb - b * b / n)
        return {
            "cosine": (raw_ab / (raw_aa * raw_bb).sqrt()).clamp(-1.0, 1.0),
            "pearson": ((ab - a * b / n) / centred.sqrt()).clamp(-1.0, 1.0),
        }


def vocabulary_state(
    a: Tensor, b: Tensor, reference_a: Tensor, reference_b: Tensor, *, first_id: int = 0
) -> State:
    """Return the state of one part of the vocabulary.

    Args:
        a: (R, v) logits of the reference for ids first_id ... first_id + v - 1, v >= 1.
        b: (R, v) of the suspect.
        reference_a: (R,) finite; the logit of the token that came next gives its rank.
        reference_b: (R,).
        first_id: id of column 0.
    """
    ra, rb = reference_a.double(), reference_b.double()
    x, y = a.double() - ra[:, None], b.double() - rb[:, None]
    gap = torch.where(torch.isneginf(x) & torch.isneginf(y), 0.0, x - y)
    both = torch.isfinite(x) & torch.isfinite(y)
    fx, fy = torch.where(both, x, 0.0), torch.where(both, y, 0.0)
    products = (both.double(), fx, fy, fx * fx, fy * fy, fx * fy)
    tests = (x > 0, y > 0, x == 0, y == 0)
    return State(
        reference_a=ra,
        reference_b=rb,
        a=_exp_sum(x, x, gap),
        b=_exp_sum(y, y, -gap),
        half=_exp_sum((x + y) / 2),
        linear=torch.stack([table.sum(1) for table in products], 1),
        choice_a=_choice(a, first_id),
        choice_b=_choice(b, first_id),
        counts=torch.stack([test.sum(1) for test in tests], 1),
    )


def _exp_sum(exponent: Tensor, *factors: Tensor) -> ExpSum:
    peak = exponent.amax(1)  # (R,)
    weights = _scale(exponent, peak[:, None])
    columns = [weights.sum(1), *(_product(factor, weights).sum(1) for factor in factors)]
    return ExpSum(peak=peak, sums=torch.stack(columns, 1))


def _scale(exponent: Tensor, peak: Tensor) -> Tensor:
    """Return exp(exponent - peak), 0 for an exponent of -inf even if the peak is -inf too."""
    return torch.where(torch.isneginf(exponent), 0.0, torch.exp(exponent - peak))


def _product(value: Tensor, weight: Tensor) -> Tensor:
    """Return value * weight, with weight 0 giving 0 even for an infinite value."""
    return torch.where(weight > 0, value * weight, 0.0)


def _choice(table: Tensor, first_id: int) -> Choice:
    logit = table.amax(1)
    index = (table == logit[:, None]).int().argmax(1)
    return Choice(logit=logit, id=index + first_id)
