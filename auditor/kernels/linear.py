"""Agreement and top-k of models given as hidden states and heads; logits live one chunk long."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.errors import InputError, VocabularyError
from auditor.kernels.order import first_ids
from auditor.kernels.pairs import LogitPair, checked_pair, checked_wanted, refuse_unusable
from auditor.kernels.pairwise import Agreement, agreement_of, chosen_implementation, joined
from auditor.kernels.projection import Projection, alike
from auditor.kernels.workspace import Workspace

Biases = tuple[Tensor | None, Tensor | None]


def linear_agreement(
    h_a: Tensor,
    w_a: Tensor,
    h_b: Tensor,
    w_b: Tensor,
    tokens: Tensor | None = None,
    *,
    bias: Biases = (None, None),
    softcap: tuple[float | None, float | None] = (None, None),
    scale: tuple[float, float] = (1.0, 1.0),
    chunk: int = 512,
    tier: str = "full",
    topk: tuple[int, ...] = (1, 5, 10, 50),
    workspace: Workspace | None = None,
    implementation: str = "auto",
) -> Agreement:
    """Return `agreement` of two models from final hidden states; see there for outputs and errors.

    Logits are float32 (float64 for float64 input) and exist for `chunk` positions at a time:
    2 * chunk * V * 4 bytes. A model compared with itself gives KL exactly 0.

    Args:
        h_a: (T, Da) final hidden states of the reference; may be backed by a memory map.
        w_a: (V, Da) its unembedding, cut to the real token ids.
        h_b: (T, Db) of the suspect.
        w_b: (V, Db).
        tokens: (T,) ids that came next.
        bias: (V,) of each head, or None.
        softcap: of each head, or None.
        scale: logit multiplier of each head.
        chunk: positions whose logits exist at once.
        tier: as in `agreement`.
        topk: as in `agreement`.
        workspace: keeps the tables of logits for the next call; None: they are freed.
        implementation: as in `agreement`.
    """
    sides = [
        Projection(name=n, hidden=h, weight=w, bias=bias[i], softcap=softcap[i], scale=scale[i])
        for i, (n, h, w) in enumerate((("a", h_a, w_a), ("b", h_b, w_b)))
    ]
    _check_sides(sides[0], sides[1], chunk)
    sides = alike(sides)
    wanted = checked_wanted(tier, topk)
    chosen_implementation(implementation)  # refuses a wrong name before any product
    if tokens is not None and tokens.shape != (sides[0].positions,):
        raise InputError(f"tokens must be ({sides[0].positions},), found {tuple(tokens.shape)}")
    with torch.no_grad():
        parts = [
            agreement_of(checked_pair(pair), wanted, chosen_implementation(implementation, pair))
            for pair in _logit_pairs(sides, tokens, chunk, workspace or Workspace())
        ]
    return joined(parts)


def _logit_pairs(
    sides: list[Projection], tokens: Tensor | None, chunk: int, tables: Workspace
) -> Iterator[LogitPair]:
    """Yield chunks of logits; each lives until the next. One empty pair if there is no position."""
    a, b = sides
    rows = min(chunk, max(1, a.positions))
    buffer_a, buffer_b = tables.logits(a, rows), tables.logits(b, rows)
    for start in range(0, max(1, a.positions), rows):
        pick = slice(start, min(start + rows, a.positions))
        size = pick.stop - pick.start
        yield LogitPair(
            a=a.logits_into(buffer_a[:size], pick),
            b=b.logits_into(buffer_b[:size], pick),
            tokens=None if tokens is None else tokens[pick],
            numbers=torch.arange(start, pick.stop, device=a.hidden.device),
        )


def _check_sides(a: Projection, b: Projection, chunk: int) -> None:
    a.check()
    b.check()
    if a.positions != b.positions:
        raise InputError(f"h_a has {a.positions} positions and h_b {b.positions}")
    if a.vocabulary != b.vocabulary:
        raise VocabularyError(
            f"w_a has {a.vocabulary} token ids and w_b {b.vocabulary}",
            hint="cut both heads to the real token ids of a common tokenizer",
        )
    if chunk < 1:
        raise InputError(f"chunk must be at least 1 position, found {chunk}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopMass:
    """The k likeliest tokens at T positions, and how much probability the others have."""

    ids: Tensor
    """(T, k) int64: larger logit first, then lower id."""
    logprobs: Tensor
    """(T, k)."""
    tail_mass: Tensor
    """(T,): summed over the other V - k ids, so small tails keep their digits."""


def top_mass(
    h: Tensor,
    w: Tensor,
    *,
    k: int,
    bias: Tensor | None = None,
    softcap: float | None = None,
    scale: float = 1.0,
    chunk: int = 256,
) -> TopMass:
    """Return the min(k, V) likeliest tokens of one model, chunk by chunk, with the tail's mass.

    Args:
        h: (T, D) final hidden states.
        w: (V, D) unembedding, cut to the real token ids.
        k: how many ids to keep, at least 1.
        bias: (V,) of the head.
        softcap: of the head.
        scale: logit multiplier of the head.
        chunk: positions whose logits exist at once.

    Raises:
        InputError: shapes do not fit, k or chunk is below 1, or a logit is NaN or +inf.
    """
    side = Projection(name="h", hidden=h, weight=w, bias=bias, softcap=softcap, scale=scale)
    side.check()
    if k < 1 or chunk < 1:
        raise InputError(f"k and chunk must be at least 1, found {k} and {chunk}")
    rows = min(chunk, max(1, side.positions))
    with torch.no_grad():
        buffer = side.buffer(rows)
        parts = []
        for start in range(0, max(1, side.positions), rows):
            pick = slice(start, min(start + rows, side.positions))
            logits = side.logits_into(buffer[: pick.stop - pick.start], pick)
            refuse_unusable("logits of h", logits, torch.arange(start, pick.stop))
            parts.append(_top_rows(logits, k))
    return TopMass(
        ids=torch.cat([part.ids for part in parts]),
        logprobs=torch.cat([part.logprobs for part in parts]),
        tail_mass=torch.cat([part.tail_mass for part in parts]),
    )


def _top_rows(logits: Tensor, k: int) -> TopMass:
    """Return the top of (R, V) logits, which are used up."""
    first = first_ids(logits, k)
    peak = first.logits[:, :1]
    weights = logits.sub_(peak).exp_()  # (R, V), 1 at the argmax
    total = weights.sum(1)
    logprobs = first.logits - peak - total.log()[:, None]
    tail = weights.scatter_(1, first.ids, 0.0).sum(1) / total
    return TopMass(ids=first.ids, logprobs=logprobs, tail_mass=tail)
