"""Overlap of the largest ids from maxima of blocks, without another pass over the logits.

Under the order of `auditor.kernels.order` (larger logit, then lower id) the k blocks with the best
first element hold the k best ids (kernels.md 2.4), so k blocks of each row are read again.
"""

import torch
from torch import Tensor

from auditor.kernels.order import first_ids
from auditor.kernels.reference import overlaps
from auditor.kernels.triton.launch import Rows
from auditor.kernels.triton.stats import BLOCK

_CANDIDATES = 1 << 22
"""Logits read at once."""


def topk_overlap(rows: Rows, maxima: tuple[Tensor, Tensor], topk: tuple[int, ...]) -> Tensor:
    """Return (n, K) float64 shares of a's min(k, V) largest ids among b's.

    Args:
        rows: n rows of the pair.
        maxima: (n, V / BLOCK) largest logit of each block of a, and of b.
        topk: sizes, each at least 1.
    """
    k = min(max(topk), rows.pair.vocabulary)
    parts = []
    for places in torch.split(
        torch.arange(len(rows.numbers), device=rows.numbers.device),
        max(1, _CANDIDATES // (k * BLOCK)),
    ):
        some = Rows(pair=rows.pair, numbers=rows.numbers[places], careful=rows.careful)
        orders = [
            _first_ids(some, name, table[places], k)
            for name, table in zip(("a", "b"), maxima, strict=True)
        ]
        parts.append(overlaps(orders[0], orders[1], topk))
    return torch.cat(parts)


def _first_ids(rows: Rows, name: str, maxima: Tensor, k: int) -> Tensor:
    """Return (n, k) ids in order."""
    width = rows.pair.vocabulary
    blocks = first_ids(maxima, k).ids.sort(1).values  # ascending: a lower place is a lower id
    inside = torch.arange(BLOCK, device=blocks.device)
    ids = (blocks[:, :, None] * BLOCK + inside).flatten(1)  # (n, k * BLOCK)
    logits = rows.logits(name, ids.clamp(max=width - 1))
    logits = logits.masked_fill(ids >= width, float("-inf"))
    return ids.gather(1, first_ids(logits, k).ids)
