"""Agreement of two models' next-token distributions: the one function, whatever computes it."""

from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from auditor.errors import KernelUnavailableError
from auditor.kernels import chunked, reference
from auditor.kernels.pairs import LogitPair, Wanted, checked_pair, checked_wanted

Implementation = Literal["auto", "reference", "chunked", "turbo", "triton"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agreement:
    """How far two models agree at T positions. Every tensor is (T,) unless it says otherwise.

    a is the teacher or reference, b the student or suspect; p, q their softmaxes. Nats.
    Floats are float32 (float64 from the reference implementation), counts int64.
    None: not asked for (no tokens given, or a field of the full tier in the lite one).
    """

    lse_a: Tensor
    """Log of the sum of exp(a)."""
    lse_b: Tensor
    entropy_a: Tensor
    """-sum p log p, in [0, ln V]."""
    entropy_b: Tensor
    kl_ab: Tensor
    """KL(p || q) >= 0, exactly 0 for equal logits; inf where q lacks a token that p has."""
    kl_ba: Tensor
    """KL(q || p)."""
    log_bc: Tensor
    """Log of the Bhattacharyya coefficient, sum sqrt(p q); -inf where they share no token."""
    cosine: Tensor
    """Of the raw logits, over ids where both are finite; NaN where one side is all zero."""
    pearson: Tensor
    """As `cosine` after centring; NaN where one side is constant (always when V = 1)."""
    argmax_a: Tensor
    """Lowest id among those with the largest logit."""
    argmax_b: Tensor
    js: Tensor | None = None
    """Jensen-Shannon divergence, in [0, ln 2]."""
    tv: Tensor | None = None
    """Total variation, half the sum of |p - q|, in [0, 1]."""
    hellinger2: Tensor | None = None
    """Squared Hellinger distance, 1 - sum sqrt(p q), in [0, 1]."""
    logp_a: Tensor | None = None
    """log p of the token that came next."""
    logp_b: Tensor | None = None
    rank_a: Tensor | None = None
    """1 + number of ids with a larger logit than the token that came next."""
    rank_b: Tensor | None = None
    ties_a: Tensor | None = None
    """Number of other ids with exactly the logit of the token that came next."""
    ties_b: Tensor | None = None
    rank_argmax_a_in_b: Tensor | None = None
    """Rank under b of `argmax_a`: 1 where the choices agree."""
    topk_overlap: Tensor | None = None
    """(T, K): share of a's k largest ids among b's, for each k (min(k, V)), in [0, 1].
    Order: larger logit first, then lower id."""
    implementation: str
    """What computed it."""


class _Kernel(Protocol):
    def __call__(self, pair: LogitPair, wanted: Wanted) -> dict[str, Tensor]: ...


def _triton_fields(pair: LogitPair, wanted: Wanted) -> dict[str, Tensor]:
    from auditor.kernels.triton import agreement as by_triton  # triton is optional

    return by_triton.agreement_fields(pair, wanted)


def _turbo_fields(pair: LogitPair, wanted: Wanted) -> dict[str, Tensor]:
    from auditor.kernels import turbo  # loads the compiler

    return turbo.agreement_fields(pair, wanted)


_KERNELS: dict[str, _Kernel] = {
    "reference": reference.agreement_fields,
    "chunked": chunked.agreement_fields,
    "turbo": _turbo_fields,
    "triton": _triton_fields,
}


def agreement(
    a: Tensor,
    b: Tensor,
    tokens: Tensor | None = None,
    *,
    lse_a: Tensor | None = None,
    lse_b: Tensor | None = None,
    tier: str = "full",
    topk: tuple[int, ...] = (1, 5, 10, 50),
    implementation: str = "auto",
) -> Agreement:
    """Return divergences, correlations and ranks of two (T, V) logit tables at each position.

    -inf marks an impossible token: where both have it, it counts nothing; where one has it, that
    KL is inf and the bounded distances stay finite. T = 0 gives empty tensors.

    Args:
        a: (T, V) logits of the teacher or reference, any floating point type.
        b: (T, V) logits of the student or suspect.
        tokens: (T,) ids that came next, for the log-probabilities, ranks and ties.
        lse_a: (T,) normaliser of a, where it is known already.
        lse_b: (T,) normaliser of b.
        tier: "full", or "lite" without js, tv, hellinger2, rank_argmax_a_in_b and topk_overlap.
        topk: sizes for `topk_overlap`.
        implementation: "chunked" (torch, float32), "turbo" (the same through `torch.compile`; what
            cannot be compiled here runs as "chunked", with the reason in the result),
            "reference" (float64, needs much memory),
            "triton" (float32, NVIDIA GPU), or "auto": triton where it can run, else chunked.

    Raises:
        InputError: shapes, types or devices do not fit, a logit is NaN or +inf, a row has no
            possible token, a token is outside the vocabulary.
        VocabularyError: a and b differ in width.
        KernelUnavailableError: no such implementation, or it cannot run here.
    """
    wanted = checked_wanted(tier, topk)
    pair = checked_pair(LogitPair(a=a, b=b, tokens=tokens, lse_a=lse_a, lse_b=lse_b))
    name = chosen_implementation(implementation, pair)
    with torch.no_grad():
        return agreement_of(pair, wanted, name)


def chosen_implementation(asked: str, pair: LogitPair | None = None) -> str:
    """Return the name of the implementation that runs; "auto" takes the fastest that can.

    Without a pair "auto" takes what runs on any device.

    Raises:
        KernelUnavailableError: no such name, or it cannot run here.
    """
    if asked not in get_args(Implementation):
        raise KernelUnavailableError(
            f"no implementation is called {asked!r}",
            hint="choose one of " + ", ".join(get_args(Implementation)),
        )
    if asked == "triton":
        _refuse_without_triton(pair)
    if asked == "turbo":
        return _turbo_or_reason()
    if asked != "auto":
        return asked
    return "triton" if pair is not None and _triton_fits(pair) else "chunked"


def _triton_fits(pair: LogitPair) -> bool:
    if pair.a.device.type != "cuda" or find_spec("triton") is None:
        return False
    from auditor.kernels.triton import agreement as by_triton  # triton is optional

    return by_triton.fits(pair)


def _refuse_without_triton(pair: LogitPair | None) -> None:
    if find_spec("triton") is None:
        raise KernelUnavailableError(
            'implementation="triton" needs the package triton',
            hint="pip install 'auditor[triton]', or choose \"chunked\"",
        )
    if not torch.cuda.is_available():
        raise KernelUnavailableError(
            'implementation="triton" needs an NVIDIA GPU, and torch finds none',
            hint='choose "chunked", which runs on any device',
        )
    if pair is not None and pair.a.device.type != "cuda":
        raise KernelUnavailableError(
            f'implementation="triton" needs tensors on the GPU, found {pair.a.device}',
            hint='move them there with .cuda(), or choose "chunked"',
        )


def agreement_of(pair: LogitPair, wanted: Wanted, implementation: str) -> Agreement:
    """Return the agreement of a checked pair by a named implementation, not "auto"."""
    name = "chunked" if implementation.startswith("chunked") else implementation
    values = _KERNELS[name](pair, wanted)
    return Agreement(**values, implementation=implementation)


def _turbo_or_reason() -> str:
    from auditor.kernels import turbo  # loads the compiler

    reason = turbo.unavailable_reason()
    return f"chunked (no turbo: {reason})" if reason else "turbo"


def joined(parts: list[Agreement]) -> Agreement:
    """Return the agreement over all positions of consecutive parts of at least one."""
    names = [f.name for f in fields(Agreement) if f.name != "implementation"]
    values: dict[str, Tensor] = {}
    for name in names:
        columns = [getattr(part, name) for part in parts]
        if columns[0] is not None:
            values[name] = torch.cat(columns)
    return Agreement(**values, implementation=parts[0].implementation)
