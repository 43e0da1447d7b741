"""A checked pair of logit tables, the input of every implementation of the agreement kernel."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from auditor.errors import InputError, VocabularyError

Tier = Literal["lite", "full"]
Fields = dict[str, Tensor]
"""Outputs by the names of `auditor.kernels.pairwise.Agreement`."""
_PEAKS_APART = 4.0
"""Nats between the largest logits of both models."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogitPair:
    """Logits of two models at the same T positions over the same V token ids."""

    a: Tensor
    """(T, V) floating point: the teacher or reference."""
    b: Tensor
    """(T, V) floating point: the student or suspect."""
    tokens: Tensor | None = None
    """(T,) int64: the token that came next."""
    lse_a: Tensor | None = None
    """(T,) log of the sum of exp(a), where known already."""
    lse_b: Tensor | None = None
    numbers: Tensor | None = None
    """(T,): where these rows are in the caller's tables, for messages; None: at 0, 1, ..."""

    @property
    def positions(self) -> int:
        """T."""
        return int(self.a.shape[0])

    @property
    def vocabulary(self) -> int:
        """V."""
        return int(self.a.shape[1])

    def picked(self, rows: Tensor) -> "LogitPair":
        """Return a copy of some rows (n,)."""
        numbers = rows if self.numbers is None else self.numbers[rows]
        optional = (self.tokens, self.lse_a, self.lse_b)
        tokens, lse_a, lse_b = (None if t is None else t[rows] for t in optional)
        return LogitPair(
            a=self.a[rows],
            b=self.b[rows],
            tokens=tokens,
            lse_a=lse_a,
            lse_b=lse_b,
            numbers=numbers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which outputs to compute."""

    tier: Tier = "full"
    topk: tuple[int, ...] = (1, 5, 10, 50)


def checked_wanted(tier: str, topk: tuple[int, ...]) -> Wanted:
    """Return the request, or raise `InputError` for an unknown tier or a k below 1."""
    if tier not in get_args(Tier):
        raise InputError(f"tier must be 'lite' or 'full', found {tier!r}")
    sizes = tuple(int(k) for k in topk)
    if any(k < 1 for k in sizes):
        raise InputError(f"topk must hold positive sizes, found {sizes}")
    return Wanted(tier="lite" if tier == "lite" else "full", topk=sizes)


def checked_pair(pair: LogitPair) -> LogitPair:
    """Return `pair` with int64 tokens and fp32 or fp64 normalisers after checks that read no logit.

    Raises:
        InputError: a tensor has the wrong rank, length, type or device; tokens outside the
            vocabulary.
        VocabularyError: the tables have different widths, or no column.
    """
    _check_tables(pair)
    return LogitPair(
        a=pair.a.detach(),
        b=pair.b.detach(),
        tokens=None if pair.tokens is None else checked_tokens(pair.tokens, pair),
        lse_a=_checked_normaliser("lse_a", pair.lse_a, pair),
        lse_b=_checked_normaliser("lse_b", pair.lse_b, pair),
        numbers=pair.numbers,
    )


def _check_tables(pair: LogitPair) -> None:
    for name, table in (("a", pair.a), ("b", pair.b)):
        if table.ndim != 2:
            raise InputError(f"{name} must be (T, V) logits, found shape {tuple(table.shape)}")
        if not table.dtype.is_floating_point:
            raise InputError(f"{name} must be floating point logits, found {table.dtype}")
    if pair.a.shape[0] != pair.b.shape[0]:
        raise InputError(
            f"a and b must hold the same positions, found {pair.a.shape[0]} and {pair.b.shape[0]}"
        )
    if pair.a.shape[1] != pair.b.shape[1]:
        raise VocabularyError(
            f"a and b must share a vocabulary, found {pair.a.shape[1]} and {pair.b.shape[1]} ids",
            hint="cut both to the real token ids of a common tokenizer",
        )
    if pair.a.shape[1] == 0:
        raise VocabularyError("a and b have no token id (V = 0)")
    if pair.a.device != pair.b.device:
        raise InputError(f"a is on {pair.a.device} and b on {pair.b.device}")


def checked_tokens(tokens: Tensor, pair: LogitPair) -> Tensor:
    """Return tokens as (T,) int64, or raise `InputError` naming the first bad one."""
    if tokens.shape != (pair.positions,):
        raise InputError(f"tokens must be ({pair.positions},), found {tuple(tokens.shape)}")
    if tokens.dtype.is_floating_point or tokens.dtype.is_complex or tokens.dtype == torch.bool:
        raise InputError(f"tokens must be integers, found {tokens.dtype}")
    if tokens.device != pair.a.device:
        raise InputError(f"tokens are on {tokens.device} and the logits on {pair.a.device}")
    wide = tokens.to(torch.int64)
    outside = torch.nonzero((wide < 0) | (wide >= pair.vocabulary))
    if outside.numel():
        row = int(outside[0])
        raise InputError(
            f"tokens[{row}] = {int(wide[row])} is outside the vocabulary 0..{pair.vocabulary - 1}"
        )
    return wide


def _checked_normaliser(name: str, lse: Tensor | None, pair: LogitPair) -> Tensor | None:
    if lse is None:
        return None
    if lse.shape != (pair.positions,):
        raise InputError(f"{name} must be ({pair.positions},), found {tuple(lse.shape)}")
    if not bool(torch.isfinite(lse).all()):
        raise InputError(f"{name} must be finite")
    return lse.detach().to(device=pair.a.device, dtype=torch.float64)


def refuse_unusable(name: str, table: Tensor, numbers: Tensor | None = None) -> None:
    """Raise `InputError` where a row of (R, V) holds NaN, +inf, or nothing but -inf.

    `numbers` (R,) says where the rows are in the caller's table.
    """
    top = table.amax(1)  # (R,): NaN spreads
    bad = torch.nonzero(~torch.isfinite(top))
    if not bad.numel():
        return
    row = int(bad[0])
    value = float(top[row])
    what = "holds only -inf" if value == float("-inf") else f"holds {value}"
    raise InputError(
        f"{name}[{row if numbers is None else int(numbers[row])}] {what}",
        hint="logits must be numbers below +inf; -inf marks an impossible token",
    )


def difference_origins(peak_a: Tensor, peak_b: Tensor) -> tuple[Tensor, Tensor]:
    """Return (R,) what to subtract from a and from b before a - b: 0, or their peaks.

    For nearly equal logits a - b is exact. Where the peaks differ much, logits are taken from
    their own peak first: a - b would round to the size of the offset.
    """
    apart = (peak_a - peak_b).abs() > _PEAKS_APART
    return torch.where(apart, peak_a, 0.0), torch.where(apart, peak_b, 0.0)
