"""What a model expects next, as its k likeliest tokens and the probability of all others."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor.case import Case
from auditor.collect.arrays import ArrayWriter
from auditor.collect.forcing import ForcedBatch
from auditor.collect.sequences import ForcedText
from auditor.models.base import Head
from auditor.types import Array

if TYPE_CHECKING:
    import torch

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

    kind = "topk"

    def __init__(self, case: Case, subject: str, texts: Sequence[ForcedText], head: Head) -> None:
        self._k = min(K, head.vocabulary)
        self._dtype = topk_dtype(self._k)
        rows = sum(map(self.count, texts))
        self.writer = ArrayWriter(case.array(self.kind, subject), self._dtype, rows)
        self._head = head

    def count(self, text: ForcedText) -> int:
        """Return the number of scored positions."""
        return text.scored

    def rows(self, batch: ForcedBatch, start: int) -> Array:
        """Return (n,) rows of `topk_dtype`."""
        return self._listed(batch.scored_states(), batch.probes())

    def _listed(self, states: "torch.Tensor", probes: Array) -> Array:
        """Return the rows of (n, D) states, each of a probe."""
        from auditor.kernels import top_mass

        head = self._head
        found = top_mass(
            states.to(device=head.weight.device, dtype=head.weight.dtype),
            head.weight,
            k=self._k,
            bias=head.bias,
            softcap=head.softcap,
            scale=head.scale,
        )
        rows = np.zeros(len(found.ids), dtype=self._dtype)
        rows["probe"] = probes
        rows["ids"] = found.ids.cpu().numpy()
        rows["logprobs"] = found.logprobs.cpu().numpy()
        rows["tail"] = found.tail_mass.cpu().numpy()
        return rows


class AnswerTokens(TopTokens):
    """Rows of ``arrays/answers/<subject>.npy``: the first token of a reply, one row a probe."""

    kind = "answers"

    def count(self, text: ForcedText) -> int:
        """Return 1 where the position that predicts the first token is known."""
        return int(text.answer is not None)

    def rows(self, batch: ForcedBatch, start: int) -> Array:
        """Return (n,) rows of `topk_dtype`."""
        import torch

        known = [
            (text.probe, states[text.answer])
            for text, states in zip(batch.texts, batch.states, strict=True)
            if text.answer is not None
        ]
        if not known:
            return np.zeros(0, dtype=self._dtype)
        states = torch.stack([state for _, state in known])
        return self._listed(states, np.array([probe for probe, _ in known], dtype=np.int32))
