"""One vector a probe: the final hidden state, averaged over the reference's text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from auditor.case import Case
from auditor.collect.arrays import ArrayReader, ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.forcing import ForcedBatch, forced_batches
from auditor.collect.sequences import ForcedText
from auditor.types import Array

_BLOCK = 1024
_NONE = -1


class MeanStates:
    """Mean states in the order of the batches, kept in ``work/`` until `place_means`."""

    def __init__(self, case: Case, subject: str, texts: Sequence[ForcedText], width: int) -> None:
        self.writer = ArrayWriter(means_path(case, subject), np.float32, len(texts), (width,))

    def count(self, text: ForcedText) -> int:
        """Return 1."""
        return 1

    def rows(self, batch: ForcedBatch, start: int) -> Array:
        """Return (n, D) float32: the mean over the scored positions of each sequence.

        Where the reply is empty, the position that would have predicted its first token.
        """
        means = []
        for text, states in zip(batch.texts, batch.states, strict=True):
            first = min(text.first, len(states) - 1)
            scored = states[first : first + max(text.scored, 1)]
            means.append(scored.double().mean(dim=0).float().cpu().numpy())
        return np.stack(means)


def means_path(case: Case, subject: str) -> Path:
    """Return where mean states are kept in the order of the batches."""
    return case.work / "means" / f"{subject}.npy"


def place_means(run: Collection, subject: str, texts: Sequence[ForcedText], probes: int) -> None:
    """Write ``arrays/hidden/<subject>.npy``: (P, D) in probe order, NaN where nothing was fed.

    Raises:
        StorageError: the disk is full.
    """
    source = ArrayReader(means_path(run.case, subject))
    batches = forced_batches(texts, run.plan["batch_tokens"])
    row_of = np.full(probes, _NONE, dtype=np.int64)
    row_of[[text.probe for batch in batches for text in batch]] = np.arange(len(texts))
    width = source.shape[1]
    with ArrayWriter(run.case.array("hidden", subject), np.float32, probes, (width,)) as writer:
        writer.resume([0])
        for start in range(0, probes, _BLOCK):
            rows = row_of[start : start + _BLOCK]
            block = np.full((len(rows), width), np.nan, dtype=np.float32)
            for place in np.flatnonzero(rows != _NONE).tolist():
                block[place] = source.read(rows[place], rows[place] + 1)[0]
            writer.append(block)
        writer.finish()
