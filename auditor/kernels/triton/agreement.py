"""The agreement kernel in Triton: two passes over the logits, everything else small.

Both tiers read the tables twice: a KL divergence from one pass is a difference of sums and loses
all digits for nearly equal models, the main case here. "lite" leaves out the Jensen-Shannon and
total variation terms, the rank of a's choice and the block maxima, which makes both passes
shorter.

Rows with -inf are read again by kernels that leave out ids impossible for both models (padded
vocabularies). Rows that float32 sums cannot hold are computed by `auditor.kernels.reference`: ids
impossible for one model alone, logits beyond 1e18, float64 tables, and vocabularies too large for
the counters. Nothing is added in an order that could change, so equal input gives equal bytes.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from auditor.kernels import reference
from auditor.kernels.pairs import Fields, LogitPair, Wanted, difference_origins
from auditor.kernels.triton.arithmetic import LOG2_E
from auditor.kernels.triton.launch import (
    LANES,
    Rows,
    Stats,
    first_pass,
    second_pass,
    token_logits,
)
from auditor.kernels.triton.stats import BLOCK
from auditor.kernels.triton.top import topk_overlap

LARGEST_VOCABULARY = LANES << 15
"""Lanes count in 15 bits."""
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_ROWS_ELEMENTS = 1 << 24
"""Block maxima held at once."""
_REDO_ELEMENTS = 1 << 22
"""Logits given to float64 code at once."""
_NEARLY_DISJOINT = 1e-20
"""Bhattacharyya coefficient below which terms may have been flushed to 0."""
_NEARLY_CONSTANT = 0.1
"""Share of the sum of squares left by centring, below which float32 sums would show."""


def fits(pair: LogitPair) -> bool:
    """Return whether the kernels can read these tables, other than through the reference."""
    known = pair.a.dtype in DTYPES and pair.b.dtype in DTYPES
    return known and pair.vocabulary < LARGEST_VOCABULARY


def agreement_fields(pair: LogitPair, wanted: Wanted) -> Fields:
    """Return every output by name: floats as float32, counts as int64."""
    numbers = torch.arange(pair.positions, device=pair.a.device)
    if not fits(pair) or pair.positions == 0:
        return _narrowed(_exact_fields(pair, wanted, numbers))
    pair = _with_contiguous_columns(pair)
    step = max(1, _ROWS_ELEMENTS // -(-pair.vocabulary // BLOCK))
    parts = [_rows_fields(pair, wanted, some) for some in torch.split(numbers, step)]
    return _narrowed({name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _narrowed(fields: Fields) -> Fields:
    return {name: v.float() if v.is_floating_point() else v for name, v in fields.items()}


def _with_contiguous_columns(pair: LogitPair) -> LogitPair:
    a, b = (t if t.stride(1) == 1 else t.contiguous() for t in (pair.a, pair.b))
    return LogitPair(
        a=a, b=b, tokens=pair.tokens, lse_a=pair.lse_a, lse_b=pair.lse_b, numbers=pair.numbers
    )


def _exact_fields(pair: LogitPair, wanted: Wanted, numbers: Tensor) -> Fields:
    return _by_reference(pair, numbers, lambda some: reference.agreement_fields(some, wanted))


def _by_reference(pair: LogitPair, numbers: Tensor, exact: Callable[[LogitPair], Fields]) -> Fields:
    groups = torch.split(numbers, max(1, _REDO_ELEMENTS // pair.vocabulary))
    parts = [exact(pair.picked(group)) for group in groups]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _rows_fields(pair: LogitPair, wanted: Wanted, numbers: Tensor) -> Fields:
    """Return the outputs of rows `numbers` (n,), whatever is in them; floats as float64."""
    fields, usable = _kernel_fields(Rows(pair=pair, numbers=numbers, careful=False), wanted)
    unusual = torch.nonzero(~usable)[:, 0]
    if not len(unusual):
        return fields
    rows = Rows(pair=pair, numbers=numbers[unusual], careful=True)
    careful, usable = _kernel_fields(rows, wanted)
    _overwrite(fields, unusual, careful)
    left = unusual[~usable]
    if len(left):
        _overwrite(fields, left, _exact_fields(pair, wanted, numbers[left]))
    return fields


def _overwrite(fields: Fields, places: Tensor, values: Fields) -> None:
    for name, column in values.items():
        fields[name][places] = column.to(fields[name].dtype)


def _kernel_fields(rows: Rows, wanted: Wanted) -> tuple[Fields, Tensor]:
    """Return the outputs, floats as float64, and (n,) bool: which rows they hold for."""
    full = wanted.tier == "full"
    found = first_pass(rows, maxima=full and bool(wanted.topk))
    lse_a = _normaliser(rows, found.a.lse, rows.pair.lse_a)
    lse_b = _normaliser(rows, found.b.lse, rows.pair.lse_b)
    scalars = _scalars(rows, found, lse_a, lse_b)
    sums, counts = second_pass(rows, scalars, full)
    fields = {
        "lse_a": lse_a,
        "lse_b": lse_b,
        "entropy_a": found.a.entropy(lse_a).clamp(min=0.0),
        "entropy_b": found.b.entropy(lse_b).clamp(min=0.0),
        "argmax_a": found.a.argmax,
        "argmax_b": found.b.argmax,
        **_divergence_fields(sums, full),
        **_correlation_fields(found),
    }
    if rows.pair.tokens is not None:
        fields |= _token_fields(rows, found, counts, lse_a, lse_b)
    if full:
        fields |= _order_fields(rows, found, counts, wanted.topk)
    _redo(rows, fields, found)
    return fields, found.usable


def _normaliser(rows: Rows, computed: Tensor, given: Tensor | None) -> Tensor:
    return computed if given is None else given[rows.numbers]


def _scalars(rows: Rows, found: Stats, lse_a: Tensor, lse_b: Tensor) -> Tensor:
    """Return (n, SCALARS) float32, what `divergence_kernel` must know of each row."""
    peak_a, peak_b = rows.logits("a", found.a.argmax), rows.logits("b", found.b.argmax)
    from_a, from_b = difference_origins(peak_a, peak_b)
    shift = (lse_a - from_a.double()) - (lse_b - from_b.double())
    scales = (
        torch.exp2(side.ref - lse * LOG2_E) for side, lse in ((found.a, lse_a), (found.b, lse_b))
    )
    tokens = token_logits(rows, "a"), token_logits(rows, "b")
    choice = rows.logits("b", found.a.argmax)
    columns = (shift, from_a, from_b, found.a.ref, found.b.ref, *scales, *tokens, choice)
    return torch.stack([column.float() for column in columns], 1)


def _divergence_fields(sums: Tensor, full: bool) -> Fields:
    kl_ab, kl_ba, root_gap, root, gap, js = sums.unbind(1)
    hellinger2 = (root_gap / 2).clamp(0.0, 1.0)
    near = hellinger2 < 0.5
    fields = {
        "kl_ab": kl_ab.clamp(min=0.0),
        "kl_ba": kl_ba.clamp(min=0.0),
        "log_bc": torch.where(near, torch.log1p(-hellinger2), root.log()).clamp(max=0.0),
    }
    if full:
        fields["js"] = (js / 2).clamp(0.0, math.log(2.0))
        fields["tv"] = (gap / 2).clamp(0.0, 1.0)
        fields["hellinger2"] = hellinger2
    return fields


def _correlation_fields(found: Stats) -> Fields:
    a, b, aa, bb, ab = found.moments.unbind(1)
    x, y = (centre.double() for centre in found.centres)
    n = found.used
    raw_ab = ab + x * b + y * a + n * x * y
    raw_aa, raw_bb = aa + 2 * x * a + n * x * x, bb + 2 * y * b + n * y * y
    spread_a, spread_b, cross = found.centred
    return {
        "cosine": (raw_ab / (raw_aa * raw_bb).sqrt()).clamp(-1.0, 1.0),
        "pearson": (cross / (spread_a * spread_b).sqrt()).clamp(-1.0, 1.0),
    }


def _token_fields(rows: Rows, found: Stats, counts: Tensor, lse_a: Tensor, lse_b: Tensor) -> Fields:
    return {
        "logp_a": token_logits(rows, "a").double() - lse_a,
        "logp_b": token_logits(rows, "b").double() - lse_b,
        "rank_a": found.a.above + 1,
        "rank_b": found.b.above + 1,
        "ties_a": counts[:, 0] - 1,
        "ties_b": counts[:, 1] - 1,
    }


def _order_fields(rows: Rows, found: Stats, counts: Tensor, topk: tuple[int, ...]) -> Fields:
    overlap = torch.zeros((len(rows.numbers), 0), dtype=torch.float64, device=counts.device)
    if found.maxima is not None:
        overlap = topk_overlap(rows, found.maxima, topk)
    return {"rank_argmax_a_in_b": counts[:, 2] + 1, "topk_overlap": overlap}


def _redo(rows: Rows, fields: Fields, found: Stats) -> None:
    """Overwrite by the reference what float32 sums do not resolve in some usable rows."""
    apart = ~(fields["log_bc"].exp() > _NEARLY_DISJOINT)
    flat = torch.zeros_like(apart)
    for spread, squares in zip(found.centred[:2], found.moments.unbind(1)[2:4], strict=True):
        flat |= spread <= _NEARLY_CONSTANT * squares
    for wrong, exact in ((apart, reference.overlap_fields), (flat, reference.correlation_fields)):
        places = torch.nonzero(wrong & found.usable)[:, 0]
        if len(places):
            _overwrite(fields, places, _by_reference(rows.pair, rows.numbers[places], exact))
