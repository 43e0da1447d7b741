"""What a model expects next, as its k likeliest tokens and the probability of all others."""

import numpy as np

from auditor.case import Case
from auditor.collect.arrays import ArrayWriter
from auditor.collect.forcing import ForcedBatch
from auditor.collect.sequences import ForcedText
from auditor.models.base import Head
from auditor.types import Array

K = 20


def topk_dtype(k: int) -> np.dtype[np.void]:
    """Return the row of ``arrays/topk/<subject>.npy`` with the `k` likeliest tokens."""
    return np.dtype(
        [
            ("probe", "<i4"),  # index into the probes of the case
            # larger logit first, then lower id; below 0, one number each: no token is listed here
            ("ids", "<i4", (k,)),
            ("logprobs", "<f4", (k,)),  # natural logarithms
            ("tail", "<f8"),  # probability of all other tokens together
        ]
    )


UNLISTED = -1e30
"""Log-probability beside an id below 0: its exponential is 0, and no infinity enters a file."""


class TopTokens:
    """Rows of ``arrays/topk/<subject>.npy``, at the scored positions."""

    def __init__(self, case: Case, subject: str, texts: list[ForcedText], head: Head) -> None:
        self._k = min(K, head.vocabulary)
        self._dtype = topk_dtype(self._k)
        rows = sum(text.scored for text in texts)
        self.writer = ArrayWriter(case.array("topk", subject), self._dtype, rows)
        self._head = head

    def count(self, text: ForcedText) -> int:
        """Return the number of scored positions."""
        return text.scored

    def rows(self, batch: ForcedBatch, start: int) -> Array:
        """Return (n,) rows of `topk_dtype`."""
        from auditor.kernels import top_mass

        head = self._head
        found = top_mass(
            batch.scored_states().to(device=head.weight.device, dtype=head.weight.dtype),
            head.weight,
            k=self._k,
            bias=head.bias,
            softcap=head.softcap,
            scale=head.scale,
        )
        rows = np.zeros(len(found.ids), dtype=self._dtype)
        rows["probe"] = batch.probes()
        rows["ids"] = found.ids.cpu().numpy()
        rows["logprobs"] = found.logprobs.cpu().numpy()
        rows["tail"] = found.tail_mass.cpu().numpy()
        return rows
